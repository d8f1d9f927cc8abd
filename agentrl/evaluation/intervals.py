"""Confidence intervals: of a success rate, of a mean, of a paired difference."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from agentrl.data.types import Floats
from agentrl.errors import DataError


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


def wilson(successes: int, n: int, *, confidence: float = 0.95) -> Interval:
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
    from scipy.stats import binomtest  # type: ignore[import-untyped]

    limits = binomtest(int(successes), n).proportion_ci(confidence, method="wilson")
    return Interval(successes / n, float(limits.low), float(limits.high), n)


def mean_interval(
    values: ArrayLike,
    *,
    clusters: Sequence[Hashable] | None = None,
    confidence: float = 0.95,
    resamples: int = 9999,
    seed: int = 0,
) -> Interval:
    """Bootstrap interval (bias-corrected, accelerated; Efron 1987) of a mean.

    `clusters` says which values belong together (plays of one task): each cluster counts once, with its mean, and
    whole clusters are drawn. Needs two clusters; for fewer the limits are infinite. Values that are all the same give
    limits that equal them: the data show no spread to tell of.

    >>> mean_interval([1.0, 3.0, 5.0, 7.0], clusters=["a", "a", "b", "b"]).n
    2
    """
    means = _cluster_means(np.asarray(values, np.float64), clusters)
    if len(means) == 0:
        return Interval(math.nan, -math.inf, math.inf, 0)
    value = float(means.mean())
    if len(means) == 1:
        return Interval(value, -math.inf, math.inf, 1)
    if np.ptp(means) == 0:
        return Interval(value, value, value, len(means))
    low, high = _bootstrap(means, confidence, resamples, seed)
    return Interval(value, low, high, len(means))


def paired_difference(
    before: ArrayLike,
    after: ArrayLike,
    *,
    clusters: Sequence[Hashable] | None = None,
    confidence: float = 0.95,
    resamples: int = 9999,
    seed: int = 0,
) -> Interval:
    """Interval of mean(after) - mean(before), where entry i of both belongs to the same task.

    Booleans, each task once: Newcombe's square-and-add interval for paired proportions (Stat. Med. 17, 1998,
    pp. 2635-2650, method 10). Numbers, or tasks that occur several times: `mean_interval` of the differences.

    By hand, 1 of 10 before and 5 of 10 after, the one among the five: Wilson's limits are 0.018 to 0.404 and 0.237 to
    0.763, the corrected correlation is 0, so 0.4 - √(0.263² + 0.304²) to 0.4 + √(0.263² + 0.082²).

    >>> interval = paired_difference([True] + [False] * 9, [True] * 5 + [False] * 5)
    >>> round(interval.value, 3), round(interval.low, 3), round(interval.high, 3)
    (0.4, -0.002, 0.676)
    """
    first, second = np.asarray(before), np.asarray(after)
    if first.shape != second.shape or first.ndim != 1:
        raise DataError(f"paired values of shapes {first.shape} and {second.shape}: give two lists of one length")
    once = clusters is None or len(set(clusters)) == len(clusters)
    if first.dtype == second.dtype == np.bool_ and once:
        both, neither = int((first & second).sum()), int((~first & ~second).sum())
        return _newcombe(both, int((first & ~second).sum()), int((~first & second).sum()), neither, confidence)
    differences = second.astype(np.float64) - first.astype(np.float64)
    return mean_interval(differences, clusters=clusters, confidence=confidence, resamples=resamples, seed=seed)


def pass_hat_k(successes: Sequence[int], trials: Sequence[int], k: int) -> float:
    """pass^k: the chance that k independent plays of a task all succeed, mean over tasks (Yao et al. 2024, τ-bench).

    Unbiased for each task: C(successes, k) / C(trials, k). Raises DataError for a task with fewer than k trials.

    >>> pass_hat_k([4, 2], [4, 4], k=2)  # (6/6 + 1/6) / 2
    0.5833333333333334
    """
    if not trials or min(trials) < k:
        raise DataError(f"pass^{k} needs at least {k} trials of every task, and a task; given were {list(trials)}")
    chances = [math.comb(won, k) / math.comb(played, k) for won, played in zip(successes, trials, strict=True)]
    return sum(chances) / len(chances)


def _newcombe(both: int, only_before: int, only_after: int, neither: int, confidence: float) -> Interval:
    n = both + only_before + only_after + neither
    if n == 0:
        return Interval(math.nan, -1.0, 1.0, 0)
    before = wilson(both + only_before, n, confidence=confidence)
    after = wilson(both + only_after, n, confidence=confidence)
    difference = (only_after - only_before) / n
    phi = _correlation(both, only_before, only_after, neither)
    down = _square_and_add(after.value - after.low, before.high - before.value, phi)
    up = _square_and_add(after.high - after.value, before.value - before.low, phi)
    return Interval(difference, difference - down, difference + up, n)


def _square_and_add(one: float, other: float, phi: float) -> float:
    return math.sqrt(max(0.0, one**2 - 2 * phi * one * other + other**2))


def _correlation(both: int, only_before: int, only_after: int, neither: int) -> float:
    """Phi of the 2 by 2 table, with Newcombe's continuity correction of a positive one; 0 where a margin is empty."""
    margins = (both + only_before) * (both + only_after) * (neither + only_before) * (neither + only_after)
    if margins == 0:
        return 0.0
    product = both * neither - only_before * only_after
    n = both + only_before + only_after + neither
    return (max(product - n / 2, 0.0) if product > 0 else product) / math.sqrt(margins)


def _cluster_means(values: Floats, clusters: Sequence[Hashable] | None) -> Floats:
    if clusters is None:
        return values
    if len(clusters) != len(values):
        raise DataError(f"{len(values)} values but {len(clusters)} clusters; name the cluster of every value")
    numbers: dict[Hashable, int] = {}
    labels = np.array([numbers.setdefault(cluster, len(numbers)) for cluster in clusters], np.int64)
    return np.asarray(np.bincount(labels, values) / np.bincount(labels), np.float64)


def _bootstrap(values: Floats, confidence: float, resamples: int, seed: int) -> tuple[float, float]:
    from scipy.stats import bootstrap

    def limits(method: str) -> Any:
        return bootstrap(
            (values,),
            np.mean,
            confidence_level=confidence,
            n_resamples=resamples,
            batch=max(1, 4_000_000 // len(values)),  # at most 32 MB at once
            method=method,
            random_state=np.random.default_rng(seed),
        ).confidence_interval

    interval = limits("BCa")
    if not np.isfinite([interval.low, interval.high]).all():  # the acceleration is undefined for a few odd samples
        interval = limits("percentile")
    return float(interval.low), float(interval.high)
