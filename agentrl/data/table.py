"""Trajectories as a Parquet table, one row per turn, and back.

pandas, DuckDB, Polars and `datasets` open these files. Columns, in order:

======================  =============  ==========================================================================
schema_version          int16          2 (files of version 1 are read too)
update                  int32          the update that trained on these rows
trajectory              string         "12.3-1": group, member, attempt; "12.3-1@7.2" is branch 2 off its turn 7
group, member, attempt  string, int32  trajectories of one group began from the same task and seed
branch, inherited       int32          number of a branch; how many of its turns are its parent's
parent, error           string         "<trajectory>@<turn>" when branched, else null; what our machinery said, or ""
task_split, task_index  string, int64  what the reset was asked for
task_key, task_seed     string, int64  stable key with a content hash; seed of the reset
seed                    int64          seed of the trajectory's own generator
outcome                 string         why it ended
success                 bool           of the whole trajectory
seconds                 double         wall clock of the whole trajectory
labels, hidden          string         JSON objects: what a collector noted; reference material of the world
final_observation       string         what the world showed after the last action, or null
final_anchor            string
final_info              string         JSON object
turn                    int32          from 0; a trajectory without turns has one row with -1, null from here on
agent, kind             string         who spoke; act, speak or answer
observation, action     string         what was seen, and what was done ("" where the completion could not be read)
invalid                 string         why the action could not be read or was refused, or ""
anchor                  string         what a credit may treat as the same state; null where it is the observation
text, stop              string         what the policy said; "stop" or "length"
thought, calls          string         where an engine returned them apart from the text; calls as JSON
relation, kept          string, int32  how the prompt continues this speaker's last one
prompt_start            int32          see below
prompt_ids              list<int32>    see below
ids, versions           list<int32>    sampled tokens, and which weights sampled each
logprobs                list<float>    of the distribution really sampled from, one per id
entropy, square         list<float>    nats and Σ π², one per id; null where the engine gave none
temperature, top_p      double         sampling settings of this turn
top_k                   int32          0 keeps all
reward                  double
rewards, info           string         JSON objects: named parts of the reward, the world's info
advantage               double         null without credit, and where it is given per token
token_advantages        list<double>   one per id, else null
======================  =============  ==========================================================================

Then come the declared columns that anybody wrote; their declarations are in the file's metadata under `agentrl`.

The prompt of a turn mostly repeats the turn before it, so only what is new is stored: the whole prompt is the first
`prompt_start` ids of (the previous turn's whole prompt, then its `ids`), followed by `prompt_ids`. "Previous" is the
previous turn of the same `agent` in the same trajectory, an inherited one too. A branch whose parent is in the table
has no rows for inherited turns. Rows keep the order of the trajectories and of their turns.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from agentrl.data.columns import COLUMNS, Column
from agentrl.data.jsontext import to_json
from agentrl.data.rows import relation
from agentrl.data.types import Advantage, Completion, Ids, Trajectory, Turn
from agentrl.errors import DataError

SCHEMA_VERSION = 2
METADATA = b"agentrl"

_ROWS_AT_ONCE = 8192  # bounds memory, and strings stay far below Arrow's 2 GiB

# column: (Arrow type, attribute of the trajectory) …
OF_TRAJECTORY = {
    "trajectory": ("string", "id"),
    "group": ("string", "group"),
    "member": ("int32", "member"),
    "attempt": ("int32", "attempt"),
    "branch": ("int32", "branch"),
    "inherited": ("int32", "inherited"),
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
    "labels": ("string", ""),
    "hidden": ("string", ""),
    "final_observation": ("string", ""),
    "final_anchor": ("string", ""),
    "final_info": ("string", ""),
}
# … or of the turn. Columns without an attribute are computed in `_computed`.
OF_TURN = {
    "agent": ("string", "agent"),
    "kind": ("string", "kind"),
    "observation": ("string", "observation"),
    "action": ("string", "action"),
    "invalid": ("string", "invalid"),
    "anchor": ("string", ""),
    "text": ("string", "completion.text"),
    "stop": ("string", "completion.stop"),
    "thought": ("string", "completion.thought"),
    "calls": ("string", ""),
    "relation": ("string", "relation"),
    "kept": ("int32", "kept"),
    "prompt_start": ("int32", ""),
    "prompt_ids": ("list int32", ""),
    "ids": ("list int32", "completion.ids"),
    "versions": ("list int32", "completion.versions"),
    "logprobs": ("list float", "completion.logprobs"),
    "entropy": ("list float", "completion.entropy"),
    "square": ("list float", "completion.square"),
    "temperature": ("double", "completion.sampling.temperature"),
    "top_p": ("double", "completion.sampling.top_p"),
    "top_k": ("int32", "completion.sampling.top_k"),
    "reward": ("double", "reward"),
    "rewards": ("string", ""),
    "info": ("string", ""),
    "advantage": ("double", ""),
    "token_advantages": ("list double", ""),
}
KINDS = {"schema_version": "int16", "update": "int32"}
KINDS |= {name: kind for name, (kind, _) in (OF_TRAJECTORY | {"turn": ("int32", "")} | OF_TURN).items()}
_REPEATING = [n for n, kind in KINDS.items() if "list" not in kind] + [
    f"{n}.list.element" for n in ("ids", "prompt_ids", "versions")
]
Values = list[object]


def write_trajectories(
    path: Path,
    trajectories: Sequence[Trajectory],
    advantages: Sequence[Advantage | None] | None = None,
    *,
    update: int = 0,
    columns: Mapping[str, Column] = COLUMNS,
) -> None:
    """Write a table into a new file. `advantages`: one entry per trajectory, None for one without credit.

    Raises DataError where advantages and trajectories disagree, a value does not fit its column, or a column that
    somebody wrote is not among the declared `columns`.
    """
    table = list(_rows(trajectories, [None] * len(trajectories) if advantages is None else advantages))
    extra = _written(table, columns)
    fields = [(name, _type(kind)) for name, kind in KINDS.items()] + [(c.name, _column_type(c)) for c in extra]
    declared = json.dumps({"columns": [asdict(column) for column in extra]})
    schema = pa.schema(fields, metadata={METADATA: declared.encode()})
    rows = iter(table)
    with pq.ParquetWriter(path, schema, compression="zstd", compression_level=1, use_dictionary=_REPEATING) as writer:
        while part := list(itertools.islice(rows, _ROWS_AT_ONCE)):
            values = _values(part, update) | {column.name: _extra(part, column) for column in extra}
            writer.write_table(pa.table([_array(values[f.name], f) for f in schema], schema=schema))


def same_trajectories(one: Sequence[Trajectory], other: Sequence[Trajectory]) -> bool:
    """Whether two lists hold the same trajectories to the last number; `seconds` and costs may differ."""
    return not first_difference(one, other)


def first_difference(one: Sequence[Trajectory], other: Sequence[Trajectory]) -> str:
    """Where two lists of trajectories differ first, in words; empty where they are the same but for time and costs."""
    rows, others = (list(_rows(trajectories, [None] * len(trajectories))) for trajectories in (one, other))
    if len(rows) != len(others):
        return f"{len(rows)} rows and {len(others)}, of {len(one)} trajectories and {len(other)}"
    left_values, right_values = _values(rows, 0), _values(others, 0)
    for position, row in enumerate(rows):
        column = _unlike(row, others[position])
        if column:
            return f"column {column} of turn {row.at} of {row.trajectory.id}"
        for name in left_values.keys() - {"seconds"}:
            left, right = left_values[name][position], right_values[name][position]
            if name in ("info", "final_info") and left and right:
                left, right = _without_cost(left), _without_cost(right)
            if not _same(left, right):
                return f"{name} of turn {row.at} of {row.trajectory.id}: {left!r} and {right!r}"
    return ""


def _unlike(row: _Row, other: _Row) -> str:
    """Name of the first column that two rows do not share; those that are never stored do not count."""
    for one, two in ((row.trajectory, other.trajectory), (row.turn, other.turn)):
        mine, theirs = (holder.columns if holder is not None else {} for holder in (one, two))
        for name in sorted(mine.keys() | theirs.keys()):
            if name in COLUMNS and not COLUMNS[name].stored:
                continue
            if name not in mine or name not in theirs or to_json(mine[name]) != to_json(theirs[name]):
                return name
    return ""


def _without_cost(text: object) -> object:
    info = json.loads(str(text))
    info.pop("cost", None)
    return info


def _same(left: object, right: object) -> bool:
    if isinstance(left, np.ndarray) and isinstance(right, np.ndarray):
        return np.array_equal(left, right, equal_nan=left.dtype.kind == "f")
    return bool(left == right) or (left != left and right != right)  # noqa: PLR0124  NaN is the same as NaN


class _Row(NamedTuple):
    trajectory: Trajectory
    at: int  # index of the turn, -1 for the one row of a trajectory without turns
    turn: Turn | None
    prompt_start: int | None
    advantage: float | NDArray[np.float64] | None


def _rows(trajectories: Sequence[Trajectory], advantages: Sequence[Advantage | None]) -> Iterator[_Row]:
    if len(trajectories) != len(advantages):
        raise DataError(f"{len(trajectories)} trajectories but {len(advantages)} advantages; None stands for no credit")
    ids = {trajectory.id for trajectory in trajectories}
    for trajectory, advantage in zip(trajectories, advantages, strict=True):
        if advantage is not None and len(advantage) != len(trajectory.turns):
            raise DataError(f"{trajectory.id} has {len(trajectory.turns)} turns but {len(advantage)} advantages")
        first = trajectory.inherited if trajectory.parent and trajectory.parent.rpartition("@")[0] in ids else 0
        if len(trajectory.turns) <= first:
            yield _Row(trajectory, -1, None, None, None)
        before: dict[str, Completion] = {}
        for index, turn in enumerate(trajectory.turns):
            if index >= first:
                start = relation(before.get(turn.agent), turn.completion.prompt_ids)[1]
                yield _Row(trajectory, index, turn, start, None if advantage is None else advantage[index])
            before[turn.agent] = turn.completion


def _type(kind: str) -> pa.DataType:
    plain = pa.type_for_alias(kind.removeprefix("list "))
    return pa.list_(plain) if kind.startswith("list ") else plain


def _column_type(column: Column) -> pa.DataType:
    """Further axes are flattened; a reader divides by the number of tokens."""
    plain = pa.string() if column.dtype in ("text", "json") else pa.type_for_alias(column.dtype)
    return pa.list_(plain) if column.per == "token" else plain


def _written(rows: Sequence[_Row], columns: Mapping[str, Column]) -> list[Column]:
    """Declared columns that somebody wrote and that are stored."""
    names = {name for row in rows for name in row.trajectory.columns}
    names |= {name for row in rows if row.turn is not None for name in row.turn.columns}
    for name in sorted(names):
        if name not in columns:
            raise DataError(f"column {name!r} is not declared; offer it with `register_columns`")
        if name in KINDS:
            raise DataError(f"column {name!r} has the name of a column that every table has; give it another")
    return [columns[name] for name in sorted(names) if columns[name].stored]


def _extra(rows: Sequence[_Row], column: Column) -> Values:
    values: Values = []
    for row in rows:
        holder = row.trajectory.columns if column.per == "trajectory" else row.turn.columns if row.turn else {}
        value = holder.get(column.name)
        if value is not None and column.per == "token" and row.turn is not None:
            value = column.array(value, len(row.turn.completion.ids), f"turn {row.at} of {row.trajectory.id}").ravel()
        values.append(to_json(value) if value is not None and column.dtype == "json" else value)
    return values


def _values(rows: Sequence[_Row], update: int) -> dict[str, Values]:
    values: dict[str, Values] = {"schema_version": [SCHEMA_VERSION] * len(rows), "update": [update] * len(rows)}
    for name, (_, attribute) in OF_TRAJECTORY.items():
        if attribute:
            values[name] = list(map(attrgetter(attribute), (row.trajectory for row in rows)))
    values["turn"] = [row.at for row in rows]
    for name, (_, attribute) in OF_TURN.items():
        if attribute:
            get = attrgetter(attribute)
            values[name] = [None if row.turn is None else get(row.turn) for row in rows]
    return values | _computed(rows) | _computed_of_trajectories(rows)


def _computed(rows: Sequence[_Row]) -> dict[str, Values]:
    turns = [row.turn for row in rows]
    per_token = [np.ndim(row.advantage) > 0 if row.advantage is not None else False for row in rows]
    return {
        "anchor": [None if turn is None or turn.anchor == turn.observation else turn.anchor for turn in turns],
        "calls": [None if t is None or t.completion.calls is None else to_json(t.completion.calls) for t in turns],
        "prompt_start": [row.prompt_start for row in rows],
        "prompt_ids": [row.turn and row.turn.completion.prompt_ids[row.prompt_start :] for row in rows],
        "rewards": [None if turn is None else _object(turn.rewards) for turn in turns],
        "info": [None if turn is None else _object(turn.info) for turn in turns],
        "advantage": [None if split else row.advantage for row, split in zip(rows, per_token, strict=True)],
        "token_advantages": [row.advantage if split else None for row, split in zip(rows, per_token, strict=True)],
    }


def _computed_of_trajectories(rows: Sequence[_Row]) -> dict[str, Values]:
    texts: dict[int, tuple[str | None, ...]] = {}
    for row in rows:
        trajectory, final = row.trajectory, row.trajectory.final
        if id(trajectory) not in texts:
            shown = (final.observation, final.anchor, _object(final.info)) if final else (None, None, None)
            texts[id(trajectory)] = (_object(trajectory.labels), _object(trajectory.hidden), *shown)
    names = ("labels", "hidden", "final_observation", "final_anchor", "final_info")
    return {name: [texts[id(row.trajectory)][i] for row in rows] for i, name in enumerate(names)}


def _object(mapping: Mapping[str, object]) -> str:
    return to_json(mapping) if mapping else "{}"


def _array(values: Values, field: pa.Field) -> pa.Array:
    """One column. Raises DataError for values that do not fit."""
    try:
        if pa.types.is_list(field.type):
            return _list_array(values, field.type)
        return pa.array(values, field.type)
    except UnicodeEncodeError:  # half a surrogate pair, which no file format takes: keep it readable
        readable = [str(v).encode("utf-8", "backslashreplace").decode() if v is not None else None for v in values]
        return pa.array(readable, field.type)
    except (pa.ArrowInvalid, pa.ArrowTypeError, TypeError, OverflowError) as error:
        raise DataError(f"column {field.name!r} of the trajectory table takes {field.type}: {error}") from error


def _list_array(values: Values, kind: pa.ListType) -> pa.Array:
    missing = np.array([value is None for value in values], np.bool_)
    arrays: list[Ids] = [value for value in values if isinstance(value, np.ndarray)]
    lengths = np.array([len(value) if isinstance(value, np.ndarray) else 0 for value in values], np.int64)
    offsets = np.concatenate(([0], lengths.cumsum())).astype(np.int32)
    dtype = kind.value_type.to_pandas_dtype()
    flat = np.concatenate([np.zeros(0, dtype), *arrays], dtype=dtype, casting="unsafe")
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(flat), type=kind, mask=pa.array(missing))
