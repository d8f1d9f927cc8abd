"""What of a trunk, the turns that a branch inherits, may change nothing: a credit that counts it twice is found here."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from agentrl.data.seeds import seed_of
from agentrl.data.types import Advantages, Floats, Trajectory, Turn
from agentrl.testing.compare import flat
from agentrl.testing.samples import sample_branches, sample_line

Ask = Callable[[Sequence[Trajectory]], Advantages]
"""The credit under test."""


def counts_trunks_again(ask: Ask) -> bool:
    """Whether numbers of other turns change with what a branch inherits, however that is changed."""
    trajectories = sample_branches()
    own = _own(ask(trajectories), trajectories)
    changes = (change(trajectories) for change in (_repeated_trunks, _renamed_trunks))
    return not any(np.allclose(own, _own(ask(t), t), rtol=1e-9, atol=1e-9) for t in changes)


def counts_trunks_at_their_place(ask: Ask) -> bool:
    """Whether a credit that compares turns at the same place of different trajectories counts trunks there.

    A play without rewards is looked at: how much its first two turns change with what branches reach later. Whoever
    compares whole trajectories changes both alike, times a factor; whoever leaves trunks out changes neither. Who
    counts trunks divides by how many trajectories have a second turn, so the factor depends on the length of another
    play; and on whether that has a second turn alone, not on turns elsewhere.
    """
    one, two, long = (_factor(ask, short, tall) for short, tall in ((1, 5), (2, 5), (1, 6)))
    if one is None or two is None or long is None:
        return False
    return not np.isclose(one, two, rtol=1e-6) and bool(np.isclose(one, long, rtol=1e-6))


def _factor(ask: Ask, short: int, tall: int) -> float | None:
    """Change of the second turn over that of the first; None where one of them does not change."""
    poor, rich = (_places(ask, short, tall, reward) for reward in (0.0, 1.0))
    first, second = rich[:2] - poor[:2]
    return float(second / first) if abs(first) > 1e-9 and abs(second) > 1e-9 else None


def _places(ask: Ask, short: int, tall: int, reward: float) -> Floats:
    """Advantages of a play without rewards, beside a short one, one as poor, and one whose branches get `reward`."""
    lengths, rewards = (4, short, tall, 4), (0.0, 0.3, 0.0, 0.5)
    lines = [sample_line(length, n, reward=won) for n, (length, won) in enumerate(zip(lengths, rewards, strict=True))]
    roots = [dataclasses.replace(line, turns=_elsewhere(line, "root")) for line in lines]
    trunk = roots[-1]
    branches = [
        dataclasses.replace(
            trunk,
            turns=(*trunk.turns[:2], *_elsewhere(sample_line(2, number, reward=reward), "branch")),
            parent=f"{trunk.id}@1",
            inherited=2,
            branch=number,
        )
        for number in range(2)
    ]
    return np.array([float(np.mean(number)) for number in ask([*roots, *branches])[0]])


def _elsewhere(trajectory: Trajectory, name: str) -> tuple[Turn, ...]:
    """Its turns, each in a state that is unlike any other."""
    states = (seed_of(name, trajectory.member, position) for position in range(len(trajectory.turns)))
    return tuple(
        dataclasses.replace(turn, anchor=str(state)) for turn, state in zip(trajectory.turns, states, strict=True)
    )


def _own(values: Advantages, trajectories: Sequence[Trajectory]) -> Floats:
    """Advantages of the turns that are trained."""
    return flat([value[t.inherited :] for t, value in zip(trajectories, values, strict=True)])


def _repeated_trunks(trajectories: Sequence[Trajectory]) -> list[Trajectory]:
    """Every inherited turn twice; they have no rewards, so no return changes."""
    made = []
    for t in trajectories:
        trunk = [turn for turn in t.turns[: t.inherited] for _ in range(2)]
        made.append(dataclasses.replace(t, turns=(*trunk, *t.turns[t.inherited :]), inherited=len(trunk)))
    return made


def _renamed_trunks(trajectories: Sequence[Trajectory]) -> list[Trajectory]:
    """Every inherited turn at a place of its own, for credits whose numbers depend on how long a play was."""
    return [
        dataclasses.replace(
            t,
            turns=tuple(
                dataclasses.replace(turn, anchor=f"{t.id} {position}") if position < t.inherited else turn
                for position, turn in enumerate(t.turns)
            ),
        )
        for t in trajectories
    ]
