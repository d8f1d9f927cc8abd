"""Scores relative to their group: the one place where a mean is subtracted or a standard deviation divided by."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

import agentrl
from agentrl_plugins.credit.turns import Codes, FlatTurns

Lone = Literal["zero", "raw"]

ROUNDING = 1e-12
"""Sums that differ by no more than this part of the sizes of what they add up (Σ|r|) are equal: 0.1 + 0.2 - 0.3 is 0.

The error of a sum of n terms is at most n · 2⁻⁵³ Σ|r| (Higham 1993), so this holds for 4,000 turns in the worst order, and
for many more in any order that occurs.
"""
LEAST = 1e-15
"""Below it, a difference is the rounding of rewards that a world computed itself, from parts that we never saw."""


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
    varies: NDArray[np.bool_]  # [K], False where all values are equal, or differ by rounding only


def sizes_of(turns: FlatTurns) -> FlatTurns:
    """The same turns with |r| for each reward r: its sums are the sizes that rounding is measured against."""
    return replace(turns, rewards=np.abs(turns.rewards)) if turns.rewards.min(initial=0.0) < 0 else turns


def returns_to_go(turns: FlatTurns, gamma: float) -> tuple[agentrl.Floats, agentrl.Floats]:
    """[N] each: G_t of every turn, and its size."""
    later, sizes = turns.returns_to_go(gamma), sizes_of(turns)
    return later, later if sizes is turns else sizes.returns_to_go(gamma)


def difference(values: agentrl.Floats, expected: agentrl.Floats, sizes: agentrl.Floats) -> agentrl.Floats:
    """`values` - `expected`, exactly 0 where only rounding tells them apart.

    >>> difference(np.array([0.1 + 0.2, 0.4]), np.array([0.3, 0.3]), np.array([0.3, 0.4])).round(3).tolist()
    [0.0, 0.1]
    """
    gap = values - expected
    return np.where(np.abs(gap) > tolerance(sizes), gap, 0.0)


def tolerance(sizes: agentrl.Floats) -> agentrl.Floats:
    """Up to which difference two sums are equal, by the sizes of what they add up."""
    return np.maximum(ROUNDING * sizes, LEAST)


def group_statistics(
    values: agentrl.Floats, group: Codes, *, ddof: int = 0, sizes: agentrl.Floats | None = None
) -> GroupStatistics:
    """Of `values` [N], whose groups are coded 0 … K - 1 without a gap; `sizes` of what was added up, |values| unless given.

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
    largest = np.maximum(np.abs(low), np.abs(high))
    if sizes is not None:
        largest = np.maximum.reduceat(sizes[order], last - count + 1)
    varies = high - low > tolerance(largest)
    return GroupStatistics(count, mean, std, varies)


def relative(
    values: agentrl.Floats, group: Codes, convention: Convention, sizes: agentrl.Floats | None = None
) -> tuple[agentrl.Floats, agentrl.Floats]:
    """`values` [N] relative to their group, and the divisor [K] that was used (infinite where a group gives nothing).

    `sizes` as for `group_statistics`.

    >>> centred, divisor = relative(np.array([1.0, 3.0, 5.0]), np.array([0, 0, 1]), Convention(std=False))
    >>> centred.tolist(), divisor.tolist()
    ([-1.0, 1.0, 0.0], [1.0, inf])
    """
    found = group_statistics(values, group, ddof=convention.ddof, sizes=sizes)
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
