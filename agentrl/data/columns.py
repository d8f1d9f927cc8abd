"""Columns: typed arrays that methods add beside tokens, turns and trajectories, declared once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from agentrl.data.types import Trajectory, Turn
from agentrl.errors import DataError, PluginError, did_you_mean

ColumnType = Literal["float32", "float64", "int32", "int64", "bool", "text", "json"]


@dataclass(frozen=True)
class Column:
    """One column, the same in `Turn.columns`, training rows, `LossBatch` and the Parquet table.

    `per = "token"` holds one value for each sampled token, an array [C, *shape] in `Turn.columns`; -1 in `shape` is
    any length. `fill` stands where nobody wrote. A column that is not `stored` lives for one update only.
    """

    name: str
    dtype: ColumnType
    per: Literal["token", "turn", "trajectory"]
    shape: tuple[int, ...] = ()
    fill: float | str | None = 0
    stored: bool = True
    help: str = ""

    def __post_init__(self) -> None:
        """Raises PluginError for a declaration that no table can hold."""
        if not self.name.isidentifier():
            raise PluginError(f"column {self.name!r}: a name is made of letters, digits and _, such as value")
        if self.dtype not in (allowed := get_args(ColumnType)):
            raise PluginError(f"column {self.name!r}: dtype = {self.dtype!r}; allowed are {', '.join(allowed)}")
        if self.dtype in ("text", "json") and self.per == "token":
            raise PluginError(f"column {self.name!r}: {self.dtype} is kept per turn or per trajectory, not per token")
        if self.shape and self.per != "token":
            raise PluginError(f"column {self.name!r}: further axes are for columns per token; use json")

    def array(self, value: object, tokens: int, where: str) -> NDArray[np.generic]:
        """A value per token as an array [C, *shape]. Raises DataError where it does not fit."""
        array = np.asarray(value, self.dtype)
        fits = len(array.shape) == 1 + len(self.shape) and all(
            axis in (-1, length) for axis, length in zip(self.shape, array.shape[1:], strict=False)
        )
        if array.shape[:1] != (tokens,) or not fits:
            raise DataError(
                f"column {self.name!r} of {where} has the shape {list(array.shape)} for {tokens} sampled tokens; "
                f"it takes [{tokens}{''.join(f', {n if n >= 0 else chr(107)}' for n in self.shape)}]"
            )
        return array


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
    """Raise PluginError, naming `writer`, for a column that nobody declared or that is of another kind."""
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


def token_column(column: Column, turns: Sequence[tuple[Turn, slice]], length: int, where: str) -> NDArray[np.generic]:
    """[length, …]: a column of some turns, each over the slice of its tokens; `fill` elsewhere.

    A value per turn stands at each of its tokens. Raises DataError where shapes disagree.
    """
    parts: list[tuple[slice, NDArray[np.generic]]] = []
    axes: tuple[int, ...] = ()
    for turn, span in turns:
        if column.name not in turn.columns:
            continue
        value = turn.columns[column.name]
        count = span.stop - span.start
        array = (
            column.array(value, count, where)
            if column.per == "token"
            else np.full(count, value, np.dtype(column.dtype))
        )
        if parts and array.shape[1:] != axes:
            raise DataError(f"column {column.name!r} of {where} has {axes} values per token, and {array.shape[1:]}")
        parts.append((span, array))
        axes = array.shape[1:]
    spread = np.full((length, *axes), column.fill, np.dtype(column.dtype))
    for span, array in parts:
        spread[span] = array
    return spread
