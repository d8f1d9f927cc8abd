"""Trajectories as a Parquet table, one row per turn, and back.

pandas, DuckDB, Polars and `datasets` open these files. Columns, in order:

======================  =============  ==========================================================================
schema_version          int16          1
update                  int32          the update that trained on these rows
trajectory              string         group#member.attempt, unique inside one update
group, member, attempt  string, int32  trajectories of one group began from the same task and seed
parent, error           string         "<trajectory>@<turn>" when branched, else null; what our machinery said, or ""
task_split, task_index  string, int64  what the reset was asked for
task_key, task_seed     string, int64  stable key with a content hash; seed of the reset
seed                    int64          seed of the trajectory's own generator
outcome                 string         why it ended
success                 bool           of the whole trajectory
seconds                 double         wall clock of the whole trajectory
turn                    int32          from 0; a trajectory without turns has one row with -1, null from here on
agent                   string         who spoke
observation, action     string         what was seen, and what was done ("" where the completion could not be read)
invalid                 string         why the action could not be read or was refused, or ""
anchor                  string         what a credit may treat as the same state; null where it is the observation
text, stop              string         what the policy said; "stop" or "length"
prompt_start            int32          see below
prompt_ids              list<int32>    see below
ids, versions           list<int32>    sampled tokens, and which weights sampled each
logprobs                list<float>    of the distribution really sampled from, one per id
entropy                 list<float>    nats, one per id; null where the engine gave none
temperature, top_p      double         sampling settings of this turn
top_k                   int32          0 keeps all
reward                  double
rewards, info, extras   string         JSON objects: named parts of the reward, the world's info, annotations
advantage               double         null without credit, and where it is given per token
token_advantages        list<double>   one per id, else null
======================  =============  ==========================================================================

The prompt of a turn mostly repeats the turn before it, so only what is new is stored: the whole prompt is the first
`prompt_start` ids of (the previous turn's whole prompt, then its `ids`), followed by `prompt_ids`. "Previous" is the
previous turn of the same `agent` in the same trajectory. Rows keep the order of the trajectories and of their turns.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from agentrl.data.jsontext import to_json
from agentrl.data.types import Completion, Floats, Ids, Outcome, Sampling, Task, Trajectory, Turn
from agentrl.errors import DataError

SCHEMA_VERSION = 1

Advantage: TypeAlias = Floats | Sequence[Floats]
"""Of one trajectory: float64 [T], or T arrays [C]."""

_ROWS_AT_ONCE = 8192  # bounds memory, and strings stay far below Arrow's 2 GiB

# column: (Arrow type, attribute of the trajectory) …
_OF_TRAJECTORY = {
    "trajectory": ("string", "id"),
    "group": ("string", "group"),
    "member": ("int32", "member"),
    "attempt": ("int32", "attempt"),
    "parent": ("string", "parent"),
    "error": ("string", "error"),
    "task_split": ("string", "task.split"),
    "task_index": ("int64", "task.index"),
    "task_key": ("string", "task.key"),
    "task_seed": ("int64", "task.seed"),
    "seed": ("int64", "seed"),
    "outcome": ("string", "outcome.value"),
    "success": ("bool", "success"),
    "seconds": ("double", "seconds"),
}
# … or of the turn. Columns without an attribute are computed in `_computed`.
_OF_TURN = {
    "agent": ("string", "agent"),
    "observation": ("string", "observation"),
    "action": ("string", "action"),
    "invalid": ("string", "invalid"),
    "anchor": ("string", ""),
    "text": ("string", "completion.text"),
    "stop": ("string", "completion.stop"),
    "prompt_start": ("int32", ""),
    "prompt_ids": ("list int32", ""),
    "ids": ("list int32", "completion.ids"),
    "versions": ("list int32", "completion.versions"),
    "logprobs": ("list float", "completion.logprobs"),
    "entropy": ("list float", "completion.entropy"),
    "temperature": ("double", "completion.sampling.temperature"),
    "top_p": ("double", "completion.sampling.top_p"),
    "top_k": ("int32", "completion.sampling.top_k"),
    "reward": ("double", "reward"),
    "rewards": ("string", ""),
    "info": ("string", ""),
    "extras": ("string", ""),
    "advantage": ("double", ""),
    "token_advantages": ("list double", ""),
}
_KINDS = {"schema_version": "int16", "update": "int32"}
_KINDS |= {name: kind for name, (kind, _) in (_OF_TRAJECTORY | {"turn": ("int32", "")} | _OF_TURN).items()}
_REPEATING = [n for n, kind in _KINDS.items() if "list" not in kind] + [
    f"{n}.list.element" for n in ("ids", "prompt_ids", "versions")
]


def write_trajectories(
    path: Path,
    trajectories: Sequence[Trajectory],
    advantages: Sequence[Advantage | None] | None = None,
    *,
    update: int = 0,
) -> None:
    """Write a table into a new file. `advantages`: one entry per trajectory, None for one without credit.

    Raises DataError where advantages and trajectories disagree, or a value does not fit its column.
    """
    import pyarrow as pa  # type: ignore[import-untyped]
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    rows = _rows(trajectories, [None] * len(trajectories) if advantages is None else advantages)
    schema = _schema()
    with pq.ParquetWriter(path, schema, compression="zstd", compression_level=1, use_dictionary=_REPEATING) as writer:
        while part := list(itertools.islice(rows, _ROWS_AT_ONCE)):
            columns = _columns(part, update)
            writer.write_table(pa.table([_array(columns[f.name], f) for f in schema], schema=schema))


def read_trajectories(path: Path) -> list[Trajectory]:
    """What `write_trajectories` was given; `info` and `extras` hold plain JSON values.

    Raises DataError for a file that is damaged, not such a table, or of another schema version.
    """
    columns = _read(path, None)
    return [_trajectory(columns, start, end) for start, end in _spans(columns["turn"])]


def read_advantages(path: Path) -> list[Advantage | None]:
    """The advantages of a table, one entry per trajectory as `write_trajectories` was given them. Raises DataError."""
    columns = _read(path, ["schema_version", "turn", "advantage", "token_advantages"])
    found: list[Advantage | None] = []
    for start, end in _spans(columns["turn"]):
        whole, per_token = columns["advantage"][start:end], columns["token_advantages"][start:end]
        if per_token[0] is not None:
            found.append(list(per_token))
        else:
            found.append(None if whole[0] is None else np.array(whole, np.float64))
    return found


def same_trajectories(one: Sequence[Trajectory], other: Sequence[Trajectory]) -> bool:
    """Whether two lists hold the same trajectories to the last number; `seconds` may differ."""
    return not first_difference(one, other)


def first_difference(one: Sequence[Trajectory], other: Sequence[Trajectory]) -> str:
    """Where two lists of trajectories differ first, in words; empty where they are the same (`seconds` excepted)."""
    rows, others = (list(_rows(trajectories, [None] * len(trajectories))) for trajectories in (one, other))
    if len(rows) != len(others):
        return f"{len(rows)} rows and {len(others)}, of {len(one)} trajectories and {len(other)}"
    columns, other_columns = _columns(rows, 0), _columns(others, 0)
    for position, row in enumerate(rows):
        for name in columns.keys() - {"seconds"}:
            left, right = columns[name][position], other_columns[name][position]
            if not _same(left, right):
                return f"{name} of turn {row.at} of {row.trajectory.id}: {left!r} and {right!r}"
    return ""


def _same(left: Any, right: Any) -> bool:
    if isinstance(left, np.ndarray) and isinstance(right, np.ndarray):
        return np.array_equal(left, right, equal_nan=left.dtype.kind == "f")
    return bool(left == right) or (left != left and right != right)  # noqa: PLR0124  NaN is the same as NaN


class _Row(NamedTuple):
    trajectory: Trajectory
    at: int  # index of the turn, -1 for the one row of a trajectory without turns
    turn: Turn | None
    prompt_start: int | None
    advantage: Any


def _rows(trajectories: Sequence[Trajectory], advantages: Sequence[Advantage | None]) -> Iterator[_Row]:
    if len(trajectories) != len(advantages):
        raise DataError(f"{len(trajectories)} trajectories but {len(advantages)} advantages; None stands for no credit")
    for trajectory, advantage in zip(trajectories, advantages, strict=True):
        if advantage is not None and len(advantage) != len(trajectory.turns):
            raise DataError(f"{trajectory.id} has {len(trajectory.turns)} turns but {len(advantage)} advantages")
        if not trajectory.turns:
            yield _Row(trajectory, -1, None, None, None)
        before: dict[str, Completion] = {}
        for index, turn in enumerate(trajectory.turns):
            start = _shared(before.get(turn.agent), turn.completion.prompt_ids)
            before[turn.agent] = turn.completion
            yield _Row(trajectory, index, turn, start, None if advantage is None else advantage[index])


def _shared(before: Completion | None, prompt_ids: Ids) -> int:
    """How many ids a prompt has in common, from the start, with the completion before it (that one's prompt included)."""
    if before is None:
        return 0
    end = len(before.prompt_ids) + len(before.ids)
    if before.prompt_ids.tobytes() + before.ids.tobytes() == prompt_ids[:end].tobytes():
        return end  # it appends, the usual case: twice as fast as the search below
    sequence = np.concatenate((before.prompt_ids, before.ids))
    length = min(len(sequence), len(prompt_ids))
    if length == 0:
        return 0
    differs = sequence[:length] != prompt_ids[:length]
    first = int(differs.argmax())
    return first if differs[first] else length


def _schema() -> Any:
    """pyarrow.Schema of the table."""
    import pyarrow as pa

    types = {name: pa.type_for_alias(kind.removeprefix("list ")) for name, kind in _KINDS.items()}
    return pa.schema({name: pa.list_(types[name]) if "list" in kind else types[name] for name, kind in _KINDS.items()})


def _columns(rows: Sequence[_Row], update: int) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {"schema_version": [SCHEMA_VERSION] * len(rows), "update": [update] * len(rows)}
    for name, (_, attribute) in _OF_TRAJECTORY.items():
        columns[name] = list(map(attrgetter(attribute), (row.trajectory for row in rows)))
    columns["turn"] = [row.at for row in rows]
    for name, (_, attribute) in _OF_TURN.items():
        if attribute:
            get = attrgetter(attribute)
            columns[name] = [None if row.turn is None else get(row.turn) for row in rows]
    return columns | _computed(rows)


def _computed(rows: Sequence[_Row]) -> dict[str, list[Any]]:
    turns = [row.turn for row in rows]
    per_token = [row.advantage is not None and np.ndim(row.advantage) > 0 for row in rows]
    return {
        "anchor": [None if turn is None or turn.anchor == turn.observation else turn.anchor for turn in turns],
        "prompt_start": [row.prompt_start for row in rows],
        "prompt_ids": [row.turn and row.turn.completion.prompt_ids[row.prompt_start :] for row in rows],
        "rewards": [turn and _object(turn.rewards) for turn in turns],
        "info": [turn and _object(turn.info) for turn in turns],
        "extras": [turn and _object(turn.extras) for turn in turns],
        "advantage": [None if split else row.advantage for row, split in zip(rows, per_token, strict=True)],
        "token_advantages": [row.advantage if split else None for row, split in zip(rows, per_token, strict=True)],
    }


def _object(mapping: Mapping[str, Any]) -> str:
    return to_json(mapping) if mapping else "{}"


def _array(values: list[Any], field: Any) -> Any:
    """pyarrow.Array of one column. Raises DataError for values that do not fit."""
    import pyarrow as pa

    try:
        if pa.types.is_list(field.type):
            return _list_array(values, field.type)
        return pa.array(values, field.type)
    except UnicodeEncodeError:  # half a surrogate pair, which no file format takes: keep it readable
        return pa.array([v and v.encode("utf-8", "backslashreplace").decode() for v in values], field.type)
    except (pa.ArrowInvalid, pa.ArrowTypeError, TypeError, OverflowError) as error:
        raise DataError(f"column {field.name!r} of the trajectory table takes {field.type}: {error}") from error


def _list_array(values: list[Any], kind: Any) -> Any:
    import pyarrow as pa

    missing = np.array([value is None for value in values], np.bool_)
    lengths = np.array([0 if value is None else len(value) for value in values], np.int64)
    offsets = np.concatenate(([0], lengths.cumsum())).astype(np.int32)
    dtype = kind.value_type.to_pandas_dtype()
    flat = np.concatenate([np.zeros(0, dtype), *(value for value in values if value is not None)], dtype=dtype)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(flat), type=kind, mask=pa.array(missing))


def _read(path: Path, names: list[str] | None) -> dict[str, list[Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            if "schema_version" not in file.schema_arrow.names:
                raise DataError(f"{path} is not a table of trajectories: it has no column 'schema_version'")
            versions = set(file.read(["schema_version"])["schema_version"].to_pylist())
            if not versions <= {SCHEMA_VERSION}:
                raise DataError(
                    f"{path} was written with schema version {sorted(versions)}, this agentrl reads {SCHEMA_VERSION}; "
                    "read it with the agentrl that wrote it (manifest.json names the version)"
                )
            table = file.read(names)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path} cannot be read as a table of trajectories: {error}") from error
    return {name: _values(table[name].combine_chunks()) for name in table.column_names}


def _values(column: Any) -> list[Any]:
    """A column as Python values; lists as NumPy arrays."""
    import pyarrow as pa

    if not pa.types.is_list(column.type):
        return list(column.to_pylist())
    flat, offsets = column.values.to_numpy(), column.offsets.to_numpy()
    valid = column.is_valid().to_numpy(zero_copy_only=False)
    return [flat[a:b].copy() if ok else None for a, b, ok in zip(offsets[:-1], offsets[1:], valid, strict=True)]


def _spans(turns: list[int]) -> list[tuple[int, int]]:
    """First row and row after the last of each trajectory."""
    starts = [row for row, turn in enumerate(turns) if turn <= 0]
    return list(itertools.pairwise([*starts, len(turns)]))


def _trajectory(columns: Mapping[str, list[Any]], start: int, end: int) -> Trajectory:
    turns: list[Turn] = []
    before: dict[str, Ids] = {}
    for row in range(start, end if columns["turn"][start] >= 0 else start):
        of = {name: columns[name][row] for name in _OF_TURN}
        shared = before.get(of["agent"], np.zeros(0, np.int32))[: of["prompt_start"]]
        prompt_ids = np.concatenate((shared, of["prompt_ids"]))
        before[of["agent"]] = np.concatenate((prompt_ids, of["ids"]))
        turns.append(_turn(of, prompt_ids))
    of = {name: columns[name][start] for name in _OF_TRAJECTORY}
    return Trajectory(
        turns=tuple(turns),
        task=Task(of["task_split"], of["task_index"], of["task_seed"], of["task_key"]),
        outcome=Outcome(of["outcome"]),
        **{name: of[name] for name in ("group", "member", "attempt", "seed", "parent", "error", "seconds")},
    )


def _turn(of: Mapping[str, Any], prompt_ids: Ids) -> Turn:
    return Turn(
        completion=Completion(
            prompt_ids=prompt_ids,
            sampling=Sampling(of["temperature"], of["top_p"], of["top_k"]),
            **{name: of[name] for name in ("text", "ids", "logprobs", "entropy", "versions", "stop")},
        ),
        anchor=of["observation"] if of["anchor"] is None else of["anchor"],
        rewards={k: np.nan if part is None else part for k, part in json.loads(of["rewards"]).items()},
        info=json.loads(of["info"]),
        extras=json.loads(of["extras"]),
        **{name: of[name] for name in ("observation", "action", "reward", "invalid", "agent")},
    )
