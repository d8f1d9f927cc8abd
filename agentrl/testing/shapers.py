"""The kit for shapers: advantages that are rewritten, and never made of nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from agentrl.data.types import Advantages, Floats, Trajectory
from agentrl.errors import PluginError
from agentrl.parts.learning import Shaper
from agentrl.parts.live import checked_advantages
from agentrl.testing.compare import flat, written
from agentrl.testing.credits import AdvantageKit
from agentrl.testing.report import CheckSkipped, Report, checks_of, require, run_checks
from agentrl.testing.samples import sample_trajectories

SAME = 1e-3
"""A share of its largest number by which what a normaliser gives may change with the scale: it adds a little to 0."""
NOISE = 0.05
"""Such a share that nothing but rounding may not reach."""


def check_shaper(make: Callable[[], Shaper], *, name: str = "?", scope: str = "") -> Report:
    """Put a shaper through the kit. `scope`: what it compares, where it does not say so itself."""
    return run_checks("shaper", name, checks_of(_ShaperKit(make, name, scope)))


class _ShaperKit(AdvantageKit):
    def __init__(self, make: Callable[[], Shaper], name: str, scope: str) -> None:
        super().__init__(make, f"shaper {name!r}", scope)
        self._shaper = make

    def _values(self, part: object, trajectories: Sequence[Trajectory]) -> Advantages:
        values: Advantages = part(trajectories, _sample_advantages(trajectories))  # type: ignore[operator]
        return values

    def advantages_per_token_are_taken(self) -> None:
        trajectories = sample_trajectories()
        per_token: Advantages = [
            [np.full(len(turn.completion.ids), number) for turn, number in zip(t.turns, value, strict=True)]
            for t, value in zip(trajectories, _sample_advantages(trajectories), strict=True)
        ]
        values = checked_advantages(self._shaper()(trajectories, per_token), trajectories, self._name)
        for trajectory, value in zip(trajectories, values, strict=True):
            for turn, number in zip(trajectory.turns, value, strict=True):
                count = len(turn.completion.ids)
                require(np.shape(number) in ((), (count,)), f"{count} advantages of tokens became {number!r}")
        require(np.isfinite(flat(values)).all(), "with one advantage per token, an advantage is not finite")

    def advantages_of_zero_stay_finite(self) -> str:
        values = self._shaped(0.0)
        return f"adds up to {np.abs(values).max():.3g} of its own" if values.any() else "they stay 0"

    def a_normaliser_leaves_zeros_alone(self) -> None:
        """Whoever adds something of its own gives that beside zeros too, and it depends on the trajectories."""
        try:
            zeros = self._normalised(0.0)
        except PluginError:
            raise CheckSkipped("where every advantage is 0, it gives no numbers") from None
        usual, mirrored = self._shaped(1.0, sample=True), self._shaped(-1.0, sample=True)
        adds = np.allclose(usual + mirrored, 2 * zeros, rtol=0.0, atol=SAME * float(np.abs(usual).max()))
        alike = all(np.ptp(zeros[places]) == 0 for places in _groups())
        require(
            not zeros.any() or adds or not alike,
            f"it normalises, and where every advantage is 0 it gives up to {np.abs(zeros).max():.3g}; leave zeros zeros",
        )

    def a_normaliser_does_not_blow_up_rounding(self) -> None:
        exact = self._normalised(1.0)
        largest = float(np.abs(self._shaped(1.0, sample=True)).max())
        for number in (0.1, 0.3, 0.7):  # a mean of such numbers is another number by a rounding
            gap = float(np.abs(self._normalised(number) - exact).max())
            require(
                gap <= NOISE * largest,
                f"it normalises, and where every advantage is {number} its numbers are up to {gap:.3g} off those where "
                "every one is 1: it divides rounding by rounding; add a little to the deviation",
            )

    def _shaped(self, number: float, *, sample: bool = False) -> Floats:
        """What becomes of one number everywhere; with `sample`, of the sample advantages times that number."""
        trajectories = sample_trajectories()
        given: Advantages = [number * (a if sample else np.ones(len(a))) for a in _sample_advantages(trajectories)]
        return flat(checked_advantages(self._shaper()(trajectories, given), trajectories, self._name))

    def _normalised(self, number: float) -> Floats:
        """Likewise, of a shaper that normalises: it does not care how large all advantages are."""
        usual, doubled = self._shaped(1.0, sample=True), self._shaped(2.0, sample=True)
        largest = float(np.abs(usual).max())
        if not largest or not np.allclose(usual, doubled, rtol=0.0, atol=SAME * largest):
            raise CheckSkipped("it does not normalise: larger advantages give others")
        return self._shaped(number)

    def its_advantages_stay_as_they_were(self) -> None:
        trajectories = sample_trajectories()
        advantages: Advantages = [*_sample_advantages(trajectories)]
        arrays, before = list(advantages), written(advantages)
        self._shaper()(trajectories, advantages)
        kept = all(a is b for a, b in zip(arrays, advantages, strict=True))
        require(kept and written(advantages) == before, "it changes the advantages that it is given")


def _sample_advantages(trajectories: Sequence[Trajectory]) -> list[Floats]:
    """Numbers that depend on each trajectory alone, so that neither its place nor its company shows in them."""
    return [t.rewards - 0.5 + 0.1 * np.arange(len(t.turns)) + 0.01 * len(t.turns) for t in trajectories]


def _groups() -> list[NDArray[np.intp]]:
    """The places of each group of the sample trajectories in their advantages, one after the other."""
    names = np.array([t.group for t in sample_trajectories() for _ in t.turns])
    return [np.flatnonzero(names == name) for name in np.unique(names)]
