"""Reads tables of trajectories back, also those that earlier versions wrote."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from agentrl.data.columns import Column
from agentrl.data.rows import relation
from agentrl.data.table import METADATA, OF_TRAJECTORY, SCHEMA_VERSION, Values
from agentrl.data.types import Advantage, Completion, Final, Ids, Outcome, Sampling, Task, Trajectory, Turn
from agentrl.errors import DataError

Table = dict[str, Values]
_OF_BRANCHES = ("parent", "inherited", "turn")


def read_trajectories(path: Path | str) -> list[Trajectory]:
    """What `write_trajectories` was given; `info` and other JSON hold plain values.

    Raises DataError for a file that is damaged, not such a table, or of a later schema version.
    """
    table, declared = _read(Path(path), None)
    spans = _spans(table)
    done: dict[str, Trajectory] = {}
    waiting = list(range(len(spans)))
    while waiting:  # parents first: a branch takes its inherited turns from them
        later = [i for i in waiting if not _ready(table, spans[i][0], done)]
        if len(later) == len(waiting):
            raise DataError(f"{path}: {table['trajectory'][spans[later[0]][0]]} lacks its parent; the table is cut")
        for i in (i for i in waiting if i not in later):
            made = _trajectory(table, *spans[i], done, declared)
            done[str(table["trajectory"][spans[i][0]])] = made
        waiting = later
    return [done[str(table["trajectory"][start])] for start, _ in spans]


def read_advantages(path: Path | str) -> list[Advantage | None]:
    """The advantages of a table, one entry per trajectory as `write_trajectories` was given them. Raises DataError.

    For a branch they are those of its own turns: the inherited ones are the parent's.
    """
    table, _ = _read(Path(path), ["schema_version", "turn", "trajectory", "advantage", "token_advantages"])
    advantages: list[Advantage | None] = []
    for start, end in _spans(table):
        whole, per_token = table["advantage"][start:end], table["token_advantages"][start:end]
        if per_token[0] is not None:
            advantages.append([np.asarray(value) for value in per_token])
        else:
            advantages.append(None if whole[0] is None else np.array(whole, np.float64))
    return advantages


def _ready(table: Table, start: int, done: Mapping[str, Trajectory]) -> bool:
    return _parent({name: table[name][start] for name in _OF_BRANCHES if name in table}) in (None, *done)


def _parent(row: Mapping[str, object]) -> str | None:
    """Id of the trajectory that the inherited turns of this one are stored with; None where it has all its turns."""
    inherited = _number(row.get("inherited", 0))
    if row["parent"] is None or not inherited or _number(row["turn"]) == 0:
        return None
    return str(row["parent"]).rpartition("@")[0]


def _number(value: object) -> int:
    assert isinstance(value, int)
    return value


def _read(path: Path, names: list[str] | None) -> tuple[Table, dict[str, Column]]:
    try:
        with pq.ParquetFile(path) as file:
            if "schema_version" not in file.schema_arrow.names:
                raise DataError(f"{path} is not a table of trajectories: it has no column 'schema_version'")
            versions = set(file.read(["schema_version"])["schema_version"].to_pylist())
            if not versions <= {1, SCHEMA_VERSION}:
                raise DataError(
                    f"{path} was written with schema version {sorted(versions)}, this agentrl reads 1 and "
                    f"{SCHEMA_VERSION}; read it with the agentrl that wrote it (manifest.json names the version)"
                )
            declared = json.loads((file.schema_arrow.metadata or {}).get(METADATA, b'{"columns": []}'))["columns"]
            table = file.read(names)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path} cannot be read as a table of trajectories: {error}") from error
    columns = [Column(**(entry | {"shape": tuple(entry["shape"])})) for entry in declared]
    values = {name: _values(table[name].combine_chunks()) for name in table.column_names}
    return values, {column.name: column for column in columns}


def _values(column: pa.Array) -> Values:
    """A column as Python values; lists as NumPy arrays."""
    if not pa.types.is_list(column.type):
        return list(column.to_pylist())
    flat, offsets = column.values.to_numpy(zero_copy_only=False), column.offsets.to_numpy()
    valid = column.is_valid().to_numpy(zero_copy_only=False)
    return [flat[a:b].copy() if ok else None for a, b, ok in zip(offsets[:-1], offsets[1:], valid, strict=True)]


def _spans(table: Table) -> list[tuple[int, int]]:
    """First row and row after the last of each trajectory."""
    ids, turns = table["trajectory"], table["turn"]
    starts = [row for row in range(len(ids)) if row == 0 or ids[row] != ids[row - 1] or _number(turns[row]) <= 0]
    return list(itertools.pairwise([*starts, len(ids)]))


def _trajectory(
    table: Table, start: int, end: int, done: Mapping[str, Trajectory], declared: Mapping[str, Column]
) -> Trajectory:
    row = {name: table[name][start] for name in (*OF_TRAJECTORY, "turn") if name in table}
    first, inherited, parent = _number(row["turn"]), _number(row.get("inherited", 0)), _parent(row)
    turns: list[Turn] = [] if parent is None else list(done[parent].turns[:inherited])
    before: dict[str, Completion] = {turn.agent: turn.completion for turn in turns}
    for at in range(start, end if first >= 0 else start):
        turn = _turn({name: values[at] for name, values in table.items()}, before, declared)
        before[turn.agent] = turn.completion
        turns.append(turn)
    return Trajectory(
        turns=tuple(turns),
        task=Task(row["task_split"], row["task_index"], row["task_seed"], row["task_key"]),  # type: ignore[arg-type]
        outcome=Outcome(row["outcome"]),
        inherited=inherited,
        final=_final(row),
        labels=json.loads(str(row.get("labels", "{}"))),
        hidden=json.loads(str(row.get("hidden", "{}"))),
        columns=_columns({name: table[name][start] for name in declared}, declared, "trajectory", 0),
        **{name: row[name] for name in ("group", "member", "attempt", "branch", "seed", "parent", "error", "seconds") if name in row},  # type: ignore[arg-type]
    )  # fmt: skip


def _final(row: Mapping[str, object]) -> Final | None:
    if row.get("final_observation") is None:
        return None
    return Final(str(row["final_observation"]), str(row["final_anchor"]), json.loads(str(row["final_info"])))


def _columns(row: Mapping[str, object], declared: Mapping[str, Column], per: str, tokens: int) -> dict[str, object]:
    columns: dict[str, object] = {}
    for name, column in declared.items():
        value = row[name]
        if value is None or (column.per == "trajectory") != (per == "trajectory"):
            continue
        if column.dtype == "json":
            value = json.loads(str(value))
        elif isinstance(value, np.ndarray):
            axes = column.shape if tokens else [max(0, length) for length in column.shape]
            value = value.reshape(tokens, *axes) if column.shape else value
        columns[name] = value
    return columns


def _turn(row: Mapping[str, object], before: Mapping[str, Completion], declared: Mapping[str, Column]) -> Turn:
    agent = str(row["agent"])
    said = before.get(agent)
    past: Ids = np.zeros(0, np.int32) if said is None else np.concatenate((said.prompt_ids, said.ids))
    prompt_ids: Ids = np.concatenate((past[: _number(row["prompt_start"])], row["prompt_ids"]))  # type: ignore[arg-type]
    names = ("text", "ids", "logprobs", "entropy", "square", "versions", "stop", "thought")
    completion = Completion(
        prompt_ids=prompt_ids,
        sampling=Sampling(row["temperature"], row["top_p"], row["top_k"]),  # type: ignore[arg-type]
        calls=None if row.get("calls") is None else tuple(json.loads(str(row["calls"]))),
        **{name: row[name] for name in names if name in row},  # type: ignore[arg-type]
    )
    how = (row["relation"], row["kept"]) if "relation" in row else relation(said, prompt_ids)
    parts: Mapping[str, float | None] = json.loads(str(row["rewards"]))
    extras: dict[str, object] = json.loads(str(row.get("extras") or "{}"))  # schema version 1
    return Turn(
        completion=completion,
        anchor=str(row["observation"] if row["anchor"] is None else row["anchor"]),
        rewards={name: np.nan if part is None else part for name, part in parts.items()},
        info=json.loads(str(row["info"])),
        agent=agent,
        kind=row.get("kind", "act"),  # type: ignore[arg-type]
        relation=how[0],  # type: ignore[arg-type]
        kept=how[1],  # type: ignore[arg-type]
        columns=extras | _columns({name: row[name] for name in declared}, declared, "turn", len(completion.ids)),
        **{name: row[name] for name in ("observation", "action", "reward", "invalid")},  # type: ignore[arg-type]
    )


__all__ = ["read_advantages", "read_trajectories"]
