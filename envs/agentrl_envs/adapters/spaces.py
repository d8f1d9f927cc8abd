"""Gymnasium spaces in words: values shown as text, actions read from text."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import Space, spaces

import agentrl

MOST_NUMBERS = 2_000
"""Numbers that an observation may have and still be text; a picture has more."""
MOST_CHOICES = 256
"""Actions that are listed one by one."""


def check(space: Space[object], where: str) -> None:
    """Raises ConfigError for a space that cannot be put into words."""
    match space:
        case spaces.Dict():
            for name, inner in space.spaces.items():
                check(inner, f"{where}.{name}")
        case spaces.Tuple():
            for position, inner in enumerate(space.spaces):
                check(inner, f"{where}[{position}]")
        case spaces.Box() | spaces.MultiBinary() | spaces.MultiDiscrete() if math.prod(space.shape) > MOST_NUMBERS:
            raise agentrl.ConfigError(
                f"{where} is {space.shape}, {math.prod(space.shape):,} numbers: at most {MOST_NUMBERS:,} can be put "
                "into words. Choose a world with a symbolic observation, or wrap it first."
            )
        case _ if not isinstance(space, _KNOWN):
            raise agentrl.ConfigError(
                f"{where} is {space!r}, which cannot be put into words; allowed are Discrete, Box, MultiDiscrete, "
                "MultiBinary, text, and Dict or Tuple of these"
            )


def show(space: Space[object], value: Any) -> str:
    """A value as text: numbers with four significant digits, one line per entry of a Dict."""
    match space:
        case spaces.Dict():
            return "\n".join(f"{name}: {show(inner, value[name])}" for name, inner in space.spaces.items())
        case spaces.Tuple():
            return f"({', '.join(show(inner, part) for inner, part in zip(space.spaces, value, strict=True))})"
        case spaces.Discrete():
            return str(int(value))
        case spaces.Box() | spaces.MultiBinary() | spaces.MultiDiscrete():
            return _numbers(np.asarray(value).tolist())
    return str(value)


def read(space: Space[object], text: str, names: Sequence[str] = ()) -> object:
    """The action a text means; raises ValueError with the reason. `names` are those of a Discrete space."""
    text = text.strip()
    if isinstance(space, spaces.Discrete) and text.casefold() in (folded := [name.casefold() for name in names]):
        return space.start + folded.index(text.casefold())
    if isinstance(space, (spaces.Text, agentrl.UnicodeText)):
        value: object = text
    else:
        bare = isinstance(space, (spaces.Discrete, spaces.Dict)) or text.startswith("[")
        try:
            value = _build(space, json.loads(text if bare else f"[{text}]"))
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
            raise ValueError(f"the action must be {form(space, names)}") from None
    if not space.contains(value):
        raise ValueError(f"the action must be {form(space, names)}")
    return value


def choices(space: Space[object], names: Sequence[str] = ()) -> tuple[str, ...] | None:
    """Every action as text, None where there are too many to list."""
    if isinstance(space, spaces.Discrete):
        count = int(space.n)
        every = names or [str(int(space.start) + position) for position in range(min(count, MOST_CHOICES))]
        return tuple(every) if count <= MOST_CHOICES else None
    ranges = _ranges(space)
    if ranges is None or math.prod(map(len, ranges)) > MOST_CHOICES:
        return None
    return tuple(json.dumps(list(row)) for row in itertools.product(*ranges))


def form(space: Space[object], names: Sequence[str] = ()) -> str:
    """How an action is written, for instructions and refusals."""
    listed = choices(space, names)
    match space:
        case spaces.Discrete() if listed is not None:
            return f"one of: {', '.join(listed)}"
        case spaces.Discrete():
            return f"a whole number from {space.start} to {space.start + space.n - 1}"
        case spaces.Box():
            low, high = (_numbers(float(edge)) for edge in (np.min(space.low), np.max(space.high)))
            return f"a JSON list of numbers of shape {list(space.shape)}, within {low} to {high}"
        case spaces.MultiBinary() | spaces.MultiDiscrete():
            return f"a JSON list of {math.prod(space.shape)} whole numbers, as in {_sample(space)}"
        case spaces.Tuple():
            return f"a JSON list: {'; '.join(form(inner) for inner in space.spaces)}"
        case spaces.Dict():
            return f"a JSON object: {'; '.join(f'{name}: {form(inner)}' for name, inner in space.spaces.items())}"
    return "text"


_KNOWN = (spaces.Discrete, spaces.Box, spaces.MultiDiscrete, spaces.MultiBinary, spaces.Text, agentrl.UnicodeText)


def _build(space: Space[object], data: Any) -> object:
    match space:
        case spaces.Dict():
            if set(data) != set(space.spaces):
                raise ValueError
            return {name: _build(inner, data[name]) for name, inner in space.spaces.items()}
        case spaces.Tuple():
            return tuple(_build(inner, part) for inner, part in zip(space.spaces, data, strict=True))
        case spaces.Discrete():
            if isinstance(data, bool) or not isinstance(data, int):
                raise TypeError
            return data
        case spaces.Box() | spaces.MultiBinary() | spaces.MultiDiscrete():
            array = np.asarray(data).reshape(space.shape)
            if array.dtype.kind not in ("iuf" if space.dtype and space.dtype.kind == "f" else "iu"):
                raise TypeError
            return array.astype(space.dtype)
    if not isinstance(data, str):
        raise TypeError
    return data


def _ranges(space: Space[object]) -> list[range] | None:
    match space:
        case spaces.MultiBinary():
            return [range(2)] * math.prod(space.shape) if len(space.shape) == 1 else None
        case spaces.MultiDiscrete():
            if len(space.shape) != 1:
                return None
            return [range(int(low), int(low + n)) for low, n in zip(space.start, space.nvec, strict=True)]
        case spaces.Tuple() if all(isinstance(inner, spaces.Discrete) for inner in space.spaces):
            discrete: Any = space.spaces
            return [range(int(inner.start), int(inner.start + inner.n)) for inner in discrete]
    return None


def _sample(space: Any) -> str:
    start = getattr(space, "start", None)
    return json.dumps((np.zeros(space.shape, np.int64) if start is None else start).tolist())


def _numbers(value: Any) -> str:
    if isinstance(value, list):
        inner = [_numbers(part) for part in value]
        nested = any(isinstance(part, list) for part in value)
        return "\n".join(inner) if nested else f"[{', '.join(inner)}]"
    return f"{value:.4g}" if isinstance(value, float) else str(int(value))
