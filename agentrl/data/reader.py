"""Reads tables of trajectories back, also those that earlier versions wrote."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from agentrl.data.columns import Column
from agentrl.data.rows import relation
from agentrl.data.schema import ADDED, KINDS, SCHEMA_VERSION
from agentrl.data.table import METADATA, arrow_type
from agentrl.data.types import Advantage, Completion, Final, Outcome, Sampling, Task, Trajectory, Turn, no_ids
from agentrl.errors import AgentRLError, DataError

Row = SimpleNamespace
"""One row of a table, an attribute for each column; lists are NumPy arrays."""


@dataclass(frozen=True)
class _Table:
    columns: Mapping[str, Sequence[object]]
    declared: Sequence[Column]
    spans: Sequence[range]
    """The rows of each trajectory."""

    def row(self, at: int) -> Row:
        return Row(**{name: values[at] for name, values in self.columns.items()})


def read_trajectories(path: Path | str) -> list[Trajectory]:
    """What `write_trajectories` was given; `info` and other JSON hold plain values.

    Raises DataError for a file that is damaged, not such a table, or of a later schema version.
    """
    with _reading(path):
        table = _read(path, [])
        done: dict[str, Trajectory] = {}
        waiting = [(table.row(span.start), span) for span in table.spans]
        order = [head.trajectory for head, _ in waiting]
        while waiting:  # parents first: a branch takes its inherited turns from them
            later = []
            for head, span in waiting:
                if _parent(head) in (None, *done):
                    done[head.trajectory] = _trajectory(table, head, span, done)
                else:
                    later.append((head, span))
            if len(later) == len(waiting):
                raise DataError(f"{later[0][0].trajectory} lacks its parent: the table is cut")
            waiting = later
        return [done[name] for name in order]


def read_advantages(path: Path | str) -> list[Advantage | None]:
    """The advantages of a table, one entry per trajectory as `write_trajectories` was given them. Raises DataError.

    For a branch they are those of its own turns: the inherited ones are the parent's.
    """
    advantages: list[Advantage | None] = []
    with _reading(path):
        table = _read(path, ["trajectory", "turn", "advantage", "token_advantages"])
        for span in table.spans:
            whole, per_token = (
                table.columns[name][span.start : span.stop] for name in ("advantage", "token_advantages")
            )
            if per_token[0] is not None:
                advantages.append([np.asarray(value) for value in per_token])
            else:
                advantages.append(None if whole[0] is None else np.array(whole, np.float64))
    return advantages


@contextmanager
def _reading(path: Path | str) -> Iterator[None]:
    """Whatever a damaged or foreign file leads to is a DataError that names it."""
    try:
        yield
    except (OSError, pa.ArrowException, LookupError, TypeError, ValueError, AgentRLError) as error:
        raise DataError(f"{path} cannot be read as a table of trajectories: {error}") from error


def _read(path: Path | str, names: Sequence[str]) -> _Table:
    """A table; only the columns `names` where there are any."""
    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        if "schema_version" not in file.schema_arrow.names:
            raise DataError("it is not a table of trajectories, without a column 'schema_version'")
        versions = set(file.read(["schema_version"])["schema_version"].to_pylist())
        if not versions <= {1, SCHEMA_VERSION}:
            raise DataError(
                f"it has schema version {', '.join(map(str, versions))}, and this agentrl reads 1 and "
                f"{SCHEMA_VERSION}; read it with the agentrl that wrote it (manifest.json names the version)"
            )
        entries = json.loads((file.schema_arrow.metadata or {}).get(METADATA, b'{"columns": []}'))["columns"]
        table = file.read(list(names) or None)
    declared = {entry["name"]: Column(**(entry | {"shape": tuple(entry["shape"])})) for entry in entries}
    added = {"extras": None} | (ADDED if 1 in versions else {})
    columns: dict[str, Sequence[object]] = {}
    for name in names or [*KINDS, *declared, "extras"]:
        if name in table.column_names:
            kind = arrow_type(KINDS[name]) if name in KINDS else table[name].type
            columns[name] = _values(table[name] if table[name].type == kind else table[name].cast(kind))
        elif name in added:
            columns[name] = [added[name]] * len(table)
        else:
            raise DataError(f"it lacks the column {name!r}")
    return _Table(columns, list(declared.values()), _spans(columns["trajectory"], np.array(columns["turn"], np.int64)))


def _spans(ids: Sequence[object], turns: NDArray[np.int64]) -> list[range]:
    """Raises DataError where the turns of a trajectory do not follow one another."""
    starts = [at for at in range(len(ids)) if at == 0 or ids[at] != ids[at - 1] or turns[at] <= turns[at - 1]]
    spans = [range(start, end) for start, end in itertools.pairwise([*starts, len(ids)])]
    for span in spans:
        if turns[span[-1]] - turns[span[0]] != len(span) - 1:
            raise DataError(f"turns of {ids[span[0]]} are missing")
    return spans


def _values(column: pa.ChunkedArray) -> Sequence[object]:
    """A column as Python values; lists as NumPy arrays."""
    whole = column.combine_chunks()
    if not pa.types.is_list(whole.type):
        return list(whole.to_pylist())
    flat, offsets = whole.values.to_numpy(zero_copy_only=False), whole.offsets.to_numpy()
    valid = whole.is_valid().to_numpy(zero_copy_only=False)
    return [flat[a:b].copy() if ok else None for a, b, ok in zip(offsets[:-1], offsets[1:], valid, strict=True)]


def _parent(row: Row) -> str | None:
    """Id of the trajectory that the inherited turns of this one are stored with; None where it has all its turns."""
    if row.parent is None or not row.inherited or row.turn == 0:
        return None
    return str(row.parent).rpartition("@")[0]


def _trajectory(table: _Table, head: Row, span: range, done: Mapping[str, Trajectory]) -> Trajectory:
    parent = _parent(head)
    turns = [] if parent is None else list(done[parent].turns[: head.inherited])
    if head.turn not in (-1, len(turns)):
        raise DataError(f"{head.trajectory} begins with turn {head.turn}: turns are missing")
    before = {turn.agent: turn.completion for turn in turns}
    for at in span if head.turn >= 0 else ():
        row = table.row(at)
        turn = _turn(row, before.get(row.agent), table.declared)
        before[turn.agent] = turn.completion
        turns.append(turn)
    names = ("group", "member", "attempt", "branch", "seed", "parent", "inherited", "error", "seconds")
    final = head.final_observation
    return Trajectory(
        turns=tuple(turns),
        task=Task(head.task_split, head.task_index, head.task_seed, head.task_key),
        outcome=Outcome(head.outcome),
        final=None if final is None else Final(final, head.final_anchor, json.loads(head.final_info)),
        labels=json.loads(head.labels),
        hidden=json.loads(head.hidden),
        columns=_columns(head, table.declared, None),
        **{name: getattr(head, name) for name in names},
    )


def _turn(row: Row, before: Completion | None, declared: Sequence[Column]) -> Turn:
    past = no_ids() if before is None else np.concatenate((before.prompt_ids, before.ids))
    completion = Completion(
        text=row.text,
        prompt_ids=np.concatenate((past[: row.prompt_start], row.prompt_ids)),
        ids=row.ids,
        logprobs=row.logprobs,
        entropy=row.entropy,
        versions=row.versions,
        stop=row.stop,
        sampling=Sampling(row.temperature, row.top_p, row.top_k),
        square=row.square,
        calls=None if row.calls is None else tuple(json.loads(row.calls)),
        thought=row.thought,
    )
    how = relation(before, completion.prompt_ids) if row.relation is None else (row.relation, row.kept)
    parts = {} if row.rewards == "{}" else json.loads(row.rewards)
    extras = {} if row.extras is None else json.loads(row.extras)  # of files of version 1
    return Turn(
        row.observation,
        completion,
        row.action,
        row.reward,
        anchor=row.observation if row.anchor is None else row.anchor,
        rewards={name: np.nan if part is None else part for name, part in parts.items()},
        invalid=row.invalid,
        info=json.loads(row.info),
        agent=row.agent,
        kind=row.kind,
        relation=how[0],
        kept=how[1],
        columns=extras | _columns(row, declared, len(completion.ids)),
    )


def _columns(row: Row, declared: Sequence[Column], tokens: int | None) -> dict[str, object]:
    """Those of a turn with so many tokens, or of a trajectory."""
    kept: dict[str, object] = {}
    for column in declared:
        value = getattr(row, column.name)
        if value is None or (column.per == "trajectory") != (tokens is None):
            continue
        if column.dtype == "json":
            value = json.loads(value)
        elif column.shape:
            value = value.reshape(tokens, *(column.shape if tokens else [max(0, length) for length in column.shape]))
        kept[column.name] = value
    return kept
