"""Where two lists of trajectories differ, for tests that compare runs to the last number."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from agentrl.data.columns import COLUMNS
from agentrl.data.jsontext import to_json
from agentrl.data.types import Completion, Sampling, Task, Trajectory

JSON = ("labels", "hidden", "rewards", "calls")
NOT_STORED = {name for name, column in COLUMNS.items() if not column.stored}


def same_trajectories(one: Sequence[Trajectory], other: Sequence[Trajectory]) -> bool:
    """Whether two lists hold the same trajectories to the last number; `seconds` and costs may differ."""
    return not first_difference(one, other)


def first_difference(one: Sequence[Trajectory], other: Sequence[Trajectory]) -> str:
    """Where two lists of trajectories differ first, in words; empty where they are the same but for time and costs.

    What a table keeps as JSON is compared as JSON, and of a task what a table keeps.
    """
    if len(one) != len(other):
        return f"{len(one)} trajectories and {len(other)}"
    for mine, theirs in zip(one, other, strict=True):
        ours, others = dict(_values(mine)), dict(_values(theirs))
        for place in (*ours, *others):
            if place not in ours or place not in others or not _same(ours[place], others[place]):
                return f"{place}: {ours.get(place)!r} and {others.get(place)!r}"
    return ""


def _values(trajectory: Trajectory) -> Iterator[tuple[str, object]]:
    yield from ((f"{name} of {trajectory.id}", value) for name, value in _fields(trajectory))
    for index, turn in enumerate(trajectory.turns):
        yield from ((f"{name} of turn {index} of {trajectory.id}", value) for name, value in _fields(turn))


def _fields(thing: object) -> Iterator[tuple[str, object]]:
    for field in dataclasses.fields(thing):  # type: ignore[arg-type]
        value = getattr(thing, field.name)
        if field.name == "columns":
            yield from ((f"column {name}", to_json(v)) for name, v in value.items() if name not in NOT_STORED)
        elif field.name == "info":
            yield "info", to_json({name: v for name, v in value.items() if name != "cost"})
        elif field.name in ("turns", "seconds"):
            continue
        elif isinstance(value, Task):
            yield field.name, dataclasses.replace(value, prefix=(), copies=0)
        elif field.name in JSON:
            yield field.name, to_json(value)
        elif isinstance(value, Completion | Sampling) or field.name == "final":
            yield field.name, value is None
            yield from _fields(value) if value is not None else ()
        else:
            yield field.name, value


def _same(left: object, right: object) -> bool:
    if isinstance(left, np.ndarray) and isinstance(right, np.ndarray):
        return left.dtype == right.dtype and np.array_equal(left, right, equal_nan=left.dtype.kind == "f")
    return bool(left == right) or (left != left and right != right)  # noqa: PLR0124  NaN is the same as NaN
