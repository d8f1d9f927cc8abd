"""Writes trajectories as a Parquet table, one row per turn; `schema.py` says what its columns mean."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
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
from agentrl.data.rows import advantage_of, relation
from agentrl.data.schema import KINDS, OF_TRAJECTORY, SCHEMA_VERSION
from agentrl.data.types import Advantage, Completion, Trajectory, Turn
from agentrl.errors import DataError

METADATA = b"agentrl"
"""Key of the declarations of columns in the metadata of a file."""

_ROWS_AT_ONCE = 8192  # bounds memory, and strings stay far below Arrow's 2 GiB
_REPEATING = [name for name, kind in KINDS.items() if "list" not in kind] + [
    f"{name}.list.element" for name in ("ids", "prompt_ids", "versions")
]


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
    rows = list(_rows(trajectories, [None] * len(trajectories) if advantages is None else advantages))
    extra = _written(trajectories, columns)
    fields = [(name, arrow_type(kind)) for name, kind in KINDS.items()] + [(c.name, _column_type(c)) for c in extra]
    declared = json.dumps({"columns": [asdict(column) for column in extra]})
    schema = pa.schema(fields, metadata={METADATA: declared.encode()})
    with pq.ParquetWriter(
        path, schema, compression="zstd", compression_level=1, use_dictionary=_REPEATING, write_page_checksum=True
    ) as writer:
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            writer.write_table(_table(rows[start : start + _ROWS_AT_ONCE], update, schema, extra))


def arrow_type(kind: str) -> pa.DataType:
    """Of a type as `schema.py` writes it."""
    plain = pa.type_for_alias(kind.removeprefix("list "))
    return pa.list_(plain) if kind.startswith("list ") else plain


class _Row(NamedTuple):
    trajectory: Trajectory
    at: int  # index of the turn
    turn: Turn
    prompt_start: int
    advantage: float | NDArray[np.float64] | None


def _rows(trajectories: Sequence[Trajectory], advantages: Sequence[Advantage | None]) -> Iterator[_Row | Trajectory]:
    """A row for each turn; a trajectory that has none here stands for itself."""
    if len(trajectories) != len(advantages):
        raise DataError(f"{len(trajectories)} trajectories but {len(advantages)} advantages; None stands for no credit")
    by_id = {trajectory.id: trajectory for trajectory in trajectories}
    for trajectory, advantage in zip(trajectories, advantages, strict=True):
        credit = None if advantage is None else advantage_of(trajectory, advantage)
        first = _stored_with_parent(trajectory, by_id)
        if len(trajectory.turns) <= first:
            yield trajectory
        before: dict[str, Completion] = {}
        for index, turn in enumerate(trajectory.turns):
            if index >= first:
                start = relation(before.get(turn.agent), turn.completion.prompt_ids)[1]
                yield _Row(trajectory, index, turn, start, None if credit is None else credit[index])
            before[turn.agent] = turn.completion


def _stored_with_parent(trajectory: Trajectory, by_id: Mapping[str, Trajectory]) -> int:
    """How many turns of a branch its parent holds, the very same ones; 0 where a reader would not find them there."""
    count = trajectory.inherited
    if not 0 <= count <= len(trajectory.turns):
        raise DataError(f"trajectory {trajectory.id} inherits {count} turns and has {len(trajectory.turns)}")
    parent = by_id.get((trajectory.parent or "").rpartition("@")[0])
    return count if parent is not None and trajectory.turns[:count] == parent.turns[:count] else 0


def _column_type(column: Column) -> pa.DataType:
    """Further axes are flattened; a reader divides by the number of tokens."""
    plain = pa.string() if column.dtype in ("text", "json") else pa.type_for_alias(column.dtype)
    return pa.list_(plain) if column.per == "token" else plain


def _written(trajectories: Sequence[Trajectory], columns: Mapping[str, Column]) -> list[Column]:
    """Declared columns that somebody wrote and that are stored."""
    names = {name for trajectory in trajectories for name in trajectory.columns}
    names |= {name for trajectory in trajectories for turn in trajectory.turns for name in turn.columns}
    for name in sorted(names):
        if name not in columns:
            raise DataError(f"column {name!r} is not declared; offer it with `register_columns`")
    return [columns[name] for name in sorted(names) if columns[name].stored]


def _table(rows: Sequence[_Row | Trajectory], update: int, schema: pa.Schema, extra: Sequence[Column]) -> pa.Table:
    turns = [row if isinstance(row, _Row) else None for row in rows]
    owners = [row.trajectory if isinstance(row, _Row) else row for row in rows]
    values: dict[str, list[object]] = {
        "schema_version": [SCHEMA_VERSION] * len(rows),
        "update": [update] * len(rows),
        "turn": [-1 if row is None else row.at for row in turns],
    }
    distinct = {id(trajectory): trajectory for trajectory in owners}
    for name, of_trajectory in _TRAJECTORY.items():
        made = {key: of_trajectory(trajectory) for key, trajectory in distinct.items()}
        values[name] = [made[id(trajectory)] for trajectory in owners]
    for name, of_row in _TURN.items():
        values[name] = [None if row is None else of_row(row) for row in turns]
    for column in extra:
        values[column.name] = [_kept(column, owner, row) for owner, row in zip(owners, turns, strict=True)]
    return pa.table([_array(values[field.name], field) for field in schema], schema=schema)


def _kept(column: Column, trajectory: Trajectory, row: _Row | None) -> object:
    """What a row stores of a column."""
    if column.per == "trajectory":
        value, tokens, where = trajectory.columns.get(column.name), 0, f"trajectory {trajectory.id}"
    elif row is None:
        return None
    else:
        value, tokens = row.turn.columns.get(column.name), len(row.turn.completion.ids)
        where = f"turn {row.at} of {trajectory.id}"
    if value is None:
        return None
    value = column.checked(value, tokens, where)
    return to_json(value) if column.dtype == "json" else value.ravel() if isinstance(value, np.ndarray) else value


def _object(mapping: Mapping[str, object]) -> str:
    return to_json(mapping) if mapping else "{}"


def _anchor(row: _Row) -> str | None:
    return None if row.turn.anchor == row.turn.observation else row.turn.anchor


def _calls(row: _Row) -> str | None:
    return None if row.turn.completion.calls is None else to_json(row.turn.completion.calls)


_TRAJECTORY: dict[str, Callable[[Trajectory], object]] = {
    name: attrgetter(name.replace("task_", "task."))
    for name in OF_TRAJECTORY
    if name not in ("schema_version", "update")
} | {
    "trajectory": attrgetter("id"),
    "outcome": attrgetter("outcome.value"),
    "labels": lambda trajectory: _object(trajectory.labels),
    "hidden": lambda trajectory: _object(trajectory.hidden),
    "final_observation": lambda trajectory: trajectory.final and trajectory.final.observation,
    "final_anchor": lambda trajectory: trajectory.final and trajectory.final.anchor,
    "final_info": lambda trajectory: trajectory.final and _object(trajectory.final.info),
}
_OF_COMPLETION = ("text", "stop", "thought", "ids", "versions", "logprobs", "entropy", "square")
_TURN: dict[str, Callable[[_Row], object]] = (
    {name: attrgetter(f"turn.{name}") for name in ("agent", "kind", "observation", "action", "invalid")}
    | {name: attrgetter(f"turn.{name}") for name in ("relation", "kept", "reward")}
    | {name: attrgetter(f"turn.completion.{name}") for name in _OF_COMPLETION}
    | {name: attrgetter(f"turn.completion.sampling.{name}") for name in ("temperature", "top_p", "top_k")}
    | {
        "anchor": _anchor,
        "calls": _calls,
        "prompt_start": attrgetter("prompt_start"),
        "prompt_ids": lambda row: row.turn.completion.prompt_ids[row.prompt_start :],
        "rewards": lambda row: _object(row.turn.rewards),
        "info": lambda row: _object(row.turn.info),
        "advantage": lambda row: None if isinstance(row.advantage, np.ndarray) else row.advantage,
        "token_advantages": lambda row: row.advantage if isinstance(row.advantage, np.ndarray) else None,
    }
)


def _array(values: Sequence[object], field: pa.Field) -> pa.Array:
    """One column. Raises DataError for values that do not fit."""
    try:
        return pa.array(values, field.type)
    except UnicodeEncodeError:  # half a surrogate pair, which no file format takes: keep it readable
        readable = [str(v).encode("utf-8", "backslashreplace").decode() if v is not None else None for v in values]
        return pa.array(readable, field.type)
    except (pa.ArrowInvalid, pa.ArrowTypeError, TypeError, OverflowError) as error:
        raise DataError(f"column {field.name!r} of the trajectory table takes {field.type}: {error}") from error
