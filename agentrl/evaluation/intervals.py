"""Confidence intervals: of a success rate, of a mean, of a paired difference."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from agentrl.data.types import Floats
from agentrl.errors import DataError

FEWEST = 20
"""Values that an interval of a mean takes at least where their bounds are not known."""


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate and its confidence limits, from `n` independent tasks. NaN or infinite where there are too few."""

    value: float
    low: float
    high: float
    n: int

    def summary(self, name: str = "success") -> dict[str, float]:
        """The form that `summary.json` uses.

        >>> Interval(0.5, 0.25, 0.75, 8).summary()
        {'success': 0.5, 'low': 0.25, 'high': 0.75, 'tasks': 8}
        """
        return {name: self.value, "low": self.low, "high": self.high, "tasks": self.n}


def wilson(successes: float, n: int, *, confidence: float = 0.95) -> Interval:
    """Wilson's score interval of a success rate (J. Am. Stat. Assoc. 22, 1927), without continuity correction.

    With z = 1.96 and 8 of 10: the middle is (8 + z²/2) / (10 + z²) = 9.921 / 13.841 = 0.717, the half-width
    z / (10 + z²) · √(8 · 2 / 10 + z² / 4) = 0.1416 · 1.600 = 0.227.

    >>> interval = wilson(8, 10)
    >>> round(interval.low, 3), round(interval.high, 3)
    (0.49, 0.943)
    """
    if not 0 <= successes <= n:
        raise DataError(f"{successes} successes of {n}: give a number from 0 to {n}")
    if n == 0:
        return Interval(math.nan, 0.0, 1.0, 0)
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    middle = (successes + z**2 / 2) / (n + z**2)
    half = z / (n + z**2) * math.sqrt(successes * (n - successes) / n + z**2 / 4)
    low, high = middle - half, middle + half  # at 0 and n one limit is the rate itself, but for rounding
    return Interval(successes / n, low if successes else 0.0, high if successes < n else 1.0, n)


def rate_interval(successes: Sequence[bool], tasks: Sequence[Hashable], *, confidence: float = 0.95) -> Interval:
    """Interval of a success rate over tasks: Wilson's; where tasks occur several times, `mean_interval` of their rates.

    For tasks that all have the same rate (all of them always solved, say) it is Wilson's interval for as many plays as there are tasks: the effective sample
    size where the plays of a task are worth one, the most cautious design effect (Kish 1965). Wilson's interval with an
    effective sample size is what Franco, Little, Louis and Slud (J. Surv. Stat. Methodol. 7, 2019, pp. 334-364)
    recommend for rates near 0 and 1 in clustered samples.

    >>> round(rate_interval([True] * 24, [0, 1, 2, 3, 4, 5, 6, 7] * 3).low, 3)  # not 1: 8 tasks were played
    0.676
    """
    rates = _cluster_means(np.asarray(successes, np.float64), tasks)
    if len(rates) == len(successes) or np.ptp(rates) == 0:
        return wilson(float(rates.sum()), len(rates), confidence=confidence)
    return mean_interval(successes, clusters=tasks, bounds=(0.0, 1.0), confidence=confidence)


def mean_interval(
    values: ArrayLike,
    *,
    clusters: Sequence[Hashable] | None = None,
    bounds: tuple[float, float] | None = None,
    confidence: float = 0.95,
    resamples: int = 9999,
    seed: int = 0,
) -> Interval:
    """Interval of a mean by Gaffke's method: a Bayesian bootstrap to which the worst value is added once.

    The upper limit is a quantile of Σ w x over the values and the highest that is possible, with weights w of all of
    them from a flat Dirichlet distribution; the lower limit likewise (Gaffke, Math. Methods Stat. 14, 2005, pp.
    451-467; Phan, Thomas and Learned-Miller 2021, 2106.03163, compare it with others). For values 0 and 1 that is the
    interval of Clopper and Pearson. A plain bootstrap knows only what was drawn: where one task in 20 pays 10 and the
    others nothing, a third of all samples of 20 show no reward, and it would be certain of 0.

    `bounds`: the lowest and the highest value that a task can have; with them the interval held the truth at least as
    often as it says in everything that was simulated, from 5 tasks on. Without them they are the lowest and the highest
    that were seen, and the limits are infinite where that is too little: for fewer than `FEWEST` values, and where all
    are the same. Then 90 to 99 % of the intervals held the truth for two-valued, uniform, normal, exponential and
    lognormal (σ = 1) values; not so for longer tails (lognormal, σ = 1.5: 86 % of 20 tasks, 92 % of 50), and for a rare
    value beyond all others until it is seen (one task in 20 that pays 20 where the others pay 0 or 1: 66 % of 20 tasks,
    91 % of 50). No method without bounds can know of it (Bahadur and Savage 1956).

    `clusters` says which values belong together (plays of one task): each cluster counts once, with its mean. Raises
    DataError for values out of bounds.

    >>> mean_interval([1.0, 3.0, 5.0, 7.0], clusters=["a", "a", "b", "b"]).n
    2
    >>> interval = mean_interval([0.0] * 10, bounds=(0, 1))  # Clopper and Pearson: 1 - 0.025 ** (1 / 10) = 0.308
    >>> interval.low, round(interval.high, 1)
    (0.0, 0.3)
    """
    means = _cluster_means(np.asarray(values, np.float64), clusters)
    count = len(means)
    value = float(means.mean()) if count else math.nan
    if bounds is None and (count < FEWEST or np.ptp(means) == 0):
        return Interval(value, -math.inf, math.inf, count)
    lowest, highest = (float(means.min()), float(means.max())) if bounds is None else bounds
    if count and not lowest <= means.min() <= means.max() <= highest:
        raise DataError(f"values from {means.min():g} to {means.max():g} do not lie in {lowest:g} to {highest:g}")
    drawn, rest = _weighted_sums(means, resamples, np.random.default_rng(seed))
    tail = (1 - confidence) / 2
    low, high = np.quantile(drawn + rest * lowest, tail), np.quantile(drawn + rest * highest, 1 - tail)
    return Interval(value, float(low), float(high), count)


def paired_difference(before: ArrayLike, after: ArrayLike, *, confidence: float = 0.95) -> Interval:
    """Interval of mean(after) - mean(before), where entry i of both belongs to the same task.

    Booleans (each task played once): Newcombe's square-and-add interval for paired proportions (Stat. Med. 17, 1998,
    pp. 2635-2650, method 10). Numbers: `mean_interval` of the differences. Success rates (numbers from 0 to 1) whose
    differences are all the same: square-and-add of two intervals from as many plays as there are tasks, without
    correlation, which nothing would show (see `rate_interval`; Zou and Donner, Stat. Med. 27, 2008, pp. 1693-1702).

    By hand, 1 of 10 before and 5 of 10 after, the one among the five: Wilson's limits are 0.018 to 0.404 and 0.237 to
    0.763, the corrected correlation is 0, so 0.4 - √(0.263² + 0.304²) to 0.4 + √(0.263² + 0.082²).

    >>> interval = paired_difference([True] + [False] * 9, [True] * 5 + [False] * 5)
    >>> round(interval.value, 3), round(interval.low, 3), round(interval.high, 3)
    (0.4, -0.002, 0.676)
    """
    first, second = np.asarray(before), np.asarray(after)
    if first.shape != second.shape or first.ndim != 1:
        raise DataError(f"paired values of shapes {first.shape} and {second.shape}: give two lists of one length")
    once = first.dtype == second.dtype == np.bool_
    one, two = first.astype(np.float64), second.astype(np.float64)
    rates = len(one) > 0 and min(one.min(), two.min()) >= 0 and max(one.max(), two.max()) <= 1
    if not once and not (rates and np.ptp(two - one) == 0):
        return mean_interval(two - one, bounds=(-1.0, 1.0) if rates else None, confidence=confidence)
    n = len(one)
    if n == 0:
        return Interval(math.nan, -1.0, 1.0, 0)
    old, new = (wilson(float(values.sum()), n, confidence=confidence) for values in (one, two))
    difference, phi = new.value - old.value, _correlation(first, second) if once else 0.0
    down = _square_and_add(new.value - new.low, old.high - old.value, phi)
    up = _square_and_add(new.high - new.value, old.value - old.low, phi)
    return Interval(difference, difference - down, difference + up, n)


def _square_and_add(one: float, other: float, phi: float) -> float:
    return math.sqrt(max(0.0, one**2 - 2 * phi * one * other + other**2))


def _correlation(before: NDArray[np.bool_], after: NDArray[np.bool_]) -> float:
    """Phi of the 2 by 2 table, with Newcombe's continuity correction of a positive one; 0 where a margin is empty."""
    n = len(before)
    (neither, only_after), (only_before, both) = np.histogram2d(before, after, bins=2, range=[[0, 1], [0, 1]])[0]
    margins = (both + only_before) * (both + only_after) * (neither + only_before) * (neither + only_after)
    if margins == 0:
        return 0.0
    product = both * neither - only_before * only_after
    return float((max(product - n / 2, 0.0) if product > 0 else product) / math.sqrt(margins))


def _cluster_means(values: Floats, clusters: Sequence[Hashable] | None) -> Floats:
    if clusters is None:
        return values
    if len(clusters) != len(values):
        raise DataError(f"{len(values)} values but {len(clusters)} clusters; name the cluster of every value")
    numbers: dict[Hashable, int] = {}
    labels = np.array([numbers.setdefault(cluster, len(numbers)) for cluster in clusters], np.int64)
    return np.asarray(np.bincount(labels, values) / np.bincount(labels), np.float64)


def _weighted_sums(values: Floats, draws: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """[draws] each: Σ w x over the values, and the weight that is left for one more; flat Dirichlet weights w."""
    different, counts = np.unique(values, return_counts=True)  # equal values share one weight
    batch = max(1, 4_000_000 // max(1, len(different)))  # 32 MB at once
    sums, rests = [], []
    for start in range(0, draws, batch):
        weights = rng.gamma(counts, size=(min(batch, draws - start), len(different)))
        rest = rng.standard_exponential(len(weights))
        total = weights.sum(1) + rest
        sums.append(weights @ different / total)
        rests.append(rest / total)
    return np.concatenate(sums), np.concatenate(rests)
