"""Columns: typed arrays that methods add beside tokens, turns and trajectories, declared once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from agentrl.data.arrays import exact
from agentrl.data.schema import KINDS
from agentrl.data.types import Trajectory, Turn
from agentrl.errors import DataError, PluginError, did_you_mean

ColumnType = Literal["float32", "float64", "int32", "int64", "bool", "text", "json"]
Per = Literal["token", "turn", "trajectory"]


@dataclass(frozen=True)
class Column:
    """One column, the same in `Turn.columns`, training rows, `LossBatch` and the Parquet table.

    `per = "token"` holds one value for each sampled token, an array [C, *shape] in `Turn.columns`; one -1 in `shape` is
    any length. `fill` stands where nobody wrote; None is nothing written. A column that is not `stored` lives for one
    update only.
    """

    name: str
    dtype: ColumnType
    per: Per
    shape: tuple[int, ...] = ()
    fill: float | str | None = 0
    stored: bool = True
    help: str = ""

    def __post_init__(self) -> None:
        """Raises PluginError for a declaration that no table can hold."""
        if not str(self.name).isidentifier():
            raise PluginError(f"column {self.name!r}: a name is made of letters, digits and _, such as value")
        if self.name in KINDS:
            raise PluginError(f"column {self.name!r} has the name of a column that every table has; give it another")
        for setting, allowed in (("dtype", ColumnType), ("per", Per)):
            if (value := getattr(self, setting)) not in get_args(allowed):
                hint = did_you_mean(str(value), get_args(allowed))
                raise PluginError(f"column {self.name!r}: {setting} = {value!r}. {hint}")
        if self.dtype in ("text", "json"):
            if self.per == "token":
                raise PluginError(
                    f"column {self.name!r}: {self.dtype} is kept per turn or per trajectory, not per token"
                )
        elif not isinstance(self.fill, (int, float)):
            raise PluginError(f"column {self.name!r}: fill = {self.fill!r}; a column of numbers is filled with one")
        if self.shape and self.per != "token":
            raise PluginError(f"column {self.name!r}: further axes are for columns per token; use json")
        if list(self.shape).count(-1) > 1 or any(axis < -1 or axis == 0 for axis in self.shape):
            raise PluginError(f"column {self.name!r}: shape = {self.shape}; give lengths, at most one of them -1")

    def checked(self, value: object, tokens: int, where: str) -> object:
        """What was written as it is kept: an array [C, *shape] per token, else a number, a text, anything for JSON.

        Raises DataError where it does not fit.
        """
        if self.dtype == "json" or (self.dtype == "text" and isinstance(value, str)):
            return value
        wanted: tuple[int, ...] = (tokens, *self.shape) if self.per == "token" else ()
        try:
            if self.dtype == "text":
                raise ValueError(f"{value!r} is not a text")
            array = exact(value, self.dtype)
        except (ValueError, OverflowError) as error:
            raise DataError(f"column {self.name!r} of {where} takes {self.dtype}: {error}") from None
        if array.ndim != len(wanted) or any(axis not in (-1, n) for axis, n in zip(wanted, array.shape, strict=True)):
            raise DataError(
                f"column {self.name!r} of {where} has the shape {list(array.shape)} for {tokens} sampled tokens; "
                f"it takes [{', '.join('k' if axis < 0 else str(axis) for axis in wanted)}]"
            )
        return array if self.per == "token" else array.item()


COLUMNS: Mapping[str, Column] = {
    column.name: column
    for column in (
        Column("mask", "bool", "token", fill=False, help="the token is context for everybody: not trained"),
        Column("reference", "float32", "token", help="log-probs under reference weights"),
        Column("old", "float32", "token", stored=False, help="log-probs under the weights the update began with"),
        Column("value", "float64", "turn", help="value of the state before the turn"),
        Column("spans", "json", "turn", fill=None, help="[name, start, stop] over the tokens: think, act …"),
        Column("judged", "json", "turn", fill=None, help="scores of judges by name"),
        Column("teacher_ids", "int32", "token", shape=(-1,), help="likeliest ids under the teacher's prompt"),
        Column("teacher_logprobs", "float32", "token", shape=(-1,), help="log-probs of teacher_ids"),
    )
}
"""Columns that are always declared."""


def check_columns(trajectories: Iterable[Trajectory], columns: Mapping[str, Column], writer: str) -> None:
    """Raise PluginError, naming `writer`, for a column that nobody declared or that is per something else."""
    trajectories = list(trajectories)
    seen = {(name, "turn") for t in trajectories for turn in t.turns[t.inherited :] for name in turn.columns}
    seen |= {(name, "trajectory") for trajectory in trajectories for name in trajectory.columns}
    for name, place in sorted(seen):
        if name not in columns:
            raise PluginError(
                f"{writer} wrote the column {name!r}, which nobody declared; offer it with `register_columns`, or use "
                f"another: {did_you_mean(name, columns)}"
            )
        if (columns[name].per == "trajectory") != (place == "trajectory"):
            raise PluginError(
                f"{writer} wrote the column {name!r} into a {place}; it is declared per {columns[name].per}"
            )


def check_values(trajectories: Iterable[Trajectory], columns: Mapping[str, Column], writer: str) -> None:
    """Raise DataError, naming `writer`, for a value that does not fit its column."""
    try:
        for trajectory in trajectories:
            _check_values(columns, trajectory.columns, 0, f"trajectory {trajectory.id}")
            for index, turn in enumerate(trajectory.turns):
                if turn.columns:
                    _check_values(columns, turn.columns, len(turn.completion.ids), f"turn {index} of {trajectory.id}")
    except DataError as error:
        raise DataError(f"{writer}: {error}") from None


def _check_values(columns: Mapping[str, Column], values: Mapping[str, object], tokens: int, where: str) -> None:
    for name, value in values.items():
        if value is not None and name in columns:
            columns[name].checked(value, tokens, where)


def token_column(
    column: Column, trajectory: Trajectory, turns: Sequence[tuple[Turn, slice]], length: int
) -> NDArray[np.generic] | None:
    """[length, …]: a column over the tokens of some turns, each at its slice; `fill` elsewhere. None if nobody wrote it.

    A value per turn, or per trajectory, stands at each token of it. Raises DataError where shapes disagree, and for a
    column that holds no numbers.
    """
    where = f"trajectory {trajectory.id}"
    parts: list[tuple[slice, NDArray[np.generic]]] = []
    for turn, span in turns:
        written = (trajectory if column.per == "trajectory" else turn).columns.get(column.name)
        if written is None:
            continue
        if column.dtype in ("text", "json"):
            raise DataError(f"column {column.name!r} of {where} holds {column.dtype}, which no token can carry")
        array = np.asarray(column.checked(written, span.stop - span.start, where), column.dtype)
        if parts and array.shape[1:] != parts[0][1].shape[1:]:
            axes = [values.shape[1:] for values in (parts[0][1], array)]
            raise DataError(f"column {column.name!r} of {where} has {axes[0]} values per token, and {axes[1]}")
        parts.append((span, array))
    if not parts:
        return None
    spread = np.full((length, *parts[0][1].shape[1:]), column.fill, np.dtype(column.dtype))
    for span, array in parts:
        spread[span] = array
    return spread
