"""Comparing what parts give, and what they must leave as it was."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from enum import Enum

import numpy as np

from agentrl.data.types import Advantage, Advantages, Floats
from agentrl.testing.report import require

TIMES = frozenset({"seconds", "cost"})
"""Fields that differ from play to play."""


def written(value: object, *, without: frozenset[str] = frozenset()) -> str:
    """A value as text, to the last bit: two equal values give equal texts. Fields and keys in `without` are left out."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{value.shape}{value.tobytes().hex()}"
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value) if field.name not in without]
        inner = ", ".join(f"{name}={written(getattr(value, name), without=without)}" for name in names)
        return f"{type(value).__name__}({inner})"
    if isinstance(value, Mapping):
        pairs = [f"{key!r}: {written(entry, without=without)}" for key, entry in value.items() if key not in without]
        return f"{{{', '.join(sorted(pairs))}}}"
    if isinstance(value, (list, tuple)):
        return f"{type(value).__name__}[{', '.join(written(entry, without=without) for entry in value)}]"
    return str(value) if isinstance(value, Enum) else repr(value)


def flat(advantages: Sequence[Advantage]) -> Floats:
    """All numbers of some advantages, one after the other."""
    return np.concatenate([np.zeros(0), *(np.ravel(value) for advantage in advantages for value in advantage)])


def require_same(one: Advantages, two: Advantages, message: str, *, tolerance: float = 1e-9) -> None:
    """Raise CheckFailed with the message where two advantages differ by more than a share of the largest."""
    a, b = flat(one), flat(two)
    scale = max(float(np.abs(a).max(initial=0.0)), 1e-3)
    same = a.shape == b.shape and np.allclose(a, b, rtol=0.0, atol=tolerance * scale)
    where = int(np.argmax(np.abs(a - b))) if a.shape == b.shape and len(a) else 0
    seen = f": {a[where]:.6g} and {b[where]:.6g}" if a.shape == b.shape and len(a) else ""
    require(same, f"{message}{seen}")
