"""Scores relative to their group: the one place where a mean is subtracted or a standard deviation divided by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

import agentrl
from agentrl_plugins.credit.turns import Codes

Lone = Literal["zero", "raw"]

ROUNDING = 1e-12
"""Scores that differ by less than this part of their size are equal: what is left is the rounding of their sums."""


@dataclass(frozen=True, slots=True)
class Convention:
    """How scores become advantages inside their group: (score - mean) / (std + epsilon), or only score - mean.

    `lone="raw"` takes mean 0 and standard deviation 1 for a group of one; `"zero"` gives it nothing. A group whose
    scores are equal, or whose standard deviation is not above `min_std`, gets exactly 0.
    """

    std: bool
    ddof: Literal[0, 1] = 1
    epsilon: float = 1e-6
    lone: Lone = "zero"
    min_std: float = 0.0

    def __post_init__(self) -> None:
        if self.epsilon < 0 or self.min_std < 0:
            raise agentrl.ConfigError(f"epsilon = {self.epsilon}, min_std = {self.min_std}: neither may be negative")


@dataclass(frozen=True, slots=True, eq=False)
class GroupStatistics:
    """Statistics of K groups; none depends on the order of the values or on another group, to the last bit."""

    count: Codes  # [K]
    mean: agentrl.Floats  # [K]
    std: agentrl.Floats  # [K], 0 for a group of one
    varies: NDArray[np.bool_]  # [K], False where all values are equal


def group_statistics(values: agentrl.Floats, group: Codes, *, ddof: int = 0) -> GroupStatistics:
    """Of `values` [N], whose groups are coded 0 … K - 1 without a gap.

    >>> found = group_statistics(np.array([1.0, 3.0, 0.1]), np.array([0, 0, 1]), ddof=1)
    >>> found.mean.tolist(), found.std.round(3).tolist(), found.varies.tolist()
    ([2.0, 0.1], [1.414, 0.0], [True, False])
    """
    order = np.argsort(values)  # sorted inside each group: sums no longer depend on the order they came in
    codes = group[order].astype(np.min_scalar_type(group.max(initial=0)))  # 16 bits and fewer are sorted by counting
    order = order[np.argsort(codes, kind="stable")]
    value, group = values[order], group[order]
    count = np.bincount(group)
    last = np.cumsum(count) - 1
    low, high = value[last - count + 1], value[last]
    # Sums of differences to the lowest value: equal values have exactly themselves as mean.
    mean = low + np.bincount(group, weights=value - low[group]) / count
    squares = np.bincount(group, weights=(value - mean[group]) ** 2)
    std = np.sqrt(squares / np.maximum(count - ddof, 1))
    varies = high - low > ROUNDING * np.maximum(np.abs(low), np.abs(high))
    return GroupStatistics(count, mean, std, varies)


def relative(values: agentrl.Floats, group: Codes, convention: Convention) -> tuple[agentrl.Floats, agentrl.Floats]:
    """`values` [N] relative to their group, and the divisor [K] that was used (infinite where a group gives nothing).

    >>> centred, divisor = relative(np.array([1.0, 3.0, 5.0]), np.array([0, 0, 1]), Convention(std=False))
    >>> centred.tolist(), divisor.tolist()
    ([-1.0, 1.0, 0.0], [1.0, inf])
    """
    found = group_statistics(values, group, ddof=convention.ddof)
    lone = found.count == 1
    divisor = np.ones(len(found.count))
    if convention.std:
        flat = ~found.varies | (found.std <= convention.min_std)
        divisor = np.where(flat, np.inf, found.std + convention.epsilon)
    divisor[lone] = np.inf if convention.lone == "zero" else 1.0 + convention.epsilon * convention.std
    deviation = np.where(found.varies[group], values - found.mean[group], 0.0)
    if convention.lone == "raw":
        deviation = np.where(lone[group], values, deviation)
    return deviation / divisor[group], divisor
