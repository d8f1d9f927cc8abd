"""Turn-wise baselines where the policy decides when to stop: which of them follow the exact gradient, and which do not."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from agentrl import Advantages, Completion, Floats, Outcome, Task, Trajectory, Turn
from agentrl_plugins.credit.rloo import rloo
from agentrl_plugins.credit.turnwise import turnwise

CELLS, GROUPS, MEMBERS = 5, 20_000, 4
LOGITS = np.array([1.2, 0.4, 0.8, 0.0, 0.6])
PAID = np.array([0.1, 0.6, 0.1, 0.9, 0.2])
"""Of stopping in a cell; whoever goes on from the last one gets 1."""

GOES_ON = 1 / (1 + np.exp(-LOGITS))
GO, STOP = Completion("go"), Completion("stop")


def exact_gradient() -> Floats:
    """Of the expected return by the logits, by backward induction."""
    value, ahead = np.zeros(CELLS + 1), 1.0
    value[CELLS] = 1.0
    for cell in reversed(range(CELLS)):
        value[cell] = GOES_ON[cell] * value[cell + 1] + (1 - GOES_ON[cell]) * PAID[cell]
    gradient = np.zeros(CELLS)
    for cell in range(CELLS):
        gradient[cell] = ahead * GOES_ON[cell] * (1 - GOES_ON[cell]) * (value[cell + 1] - PAID[cell])
        ahead *= GOES_ON[cell]
    return gradient


def played(seed: int) -> list[Trajectory]:
    """Groups of trajectories; turn t is in cell t."""
    going = np.random.default_rng(seed).random((GROUPS * MEMBERS, CELLS)) < GOES_ON
    made = []
    for number, goes in enumerate(going.tolist()):
        length = goes.index(False) + 1 if False in goes else CELLS
        turns = [Turn("", GO if goes[t] else STOP, "", 0.0, "") for t in range(length)]
        reward = 1.0 if goes[length - 1] else float(PAID[length - 1])
        turns[-1] = Turn("", GO if goes[length - 1] else STOP, "", reward, "")
        group = str(number // MEMBERS)
        made.append(Trajectory(tuple(turns), Task("train", 0), group, Outcome.TERMINATED, member=number % MEMBERS))
    return made


def estimates(advantages: Advantages, trajectories: Sequence[Trajectory]) -> Floats:
    """[GROUPS, CELLS]: what each group says the gradient is."""
    scores = np.zeros((len(trajectories), CELLS))
    for row, (trajectory, each) in enumerate(zip(trajectories, advantages, strict=True)):
        for cell, turn in enumerate(trajectory.turns):
            scores[row, cell] = ((turn.completion is GO) - GOES_ON[cell]) * each[cell]
    return scores.reshape(GROUPS, MEMBERS, CELLS).mean(axis=1)


def errors(credit: Callable[..., Advantages], *, scaled: bool) -> float:
    """The largest difference to the exact gradient in standard errors; `scaled`: after the best common factor."""
    found, exact = estimates(credit(BATCH), BATCH), exact_gradient()
    if scaled:
        found = found * (found.mean(axis=0) @ exact) / np.sum(found.mean(axis=0) ** 2)
    return float(np.max(np.abs(found.mean(axis=0) - exact) / (found.std(axis=0, ddof=1) / np.sqrt(GROUPS))))


BATCH = played(seed=3)


@pytest.mark.parametrize(
    "credit",
    [rloo, turnwise, lambda batch: turnwise(batch, absent="drop")],
    ids=["rloo", "ended ones count as 0", "dropped, alone as they are"],
)
def test_leave_one_out_follows_the_exact_gradient(credit: Callable[..., Advantages]) -> None:
    assert errors(credit, scaled=False) < 3


@pytest.mark.parametrize(
    "credit",
    [
        lambda batch: turnwise(batch, baseline="z", absent="drop", lone="zero"),
        lambda batch: turnwise(batch, baseline="z"),
        lambda batch: turnwise(batch, of="reward"),
        lambda batch: turnwise(batch, absent="drop", lone="zero"),
    ],
    ids=["z, dropped", "z", "the turn's own reward", "dropped, alone 0"],
)
def test_others_do_not_whatever_their_scale(credit: Callable[..., Advantages]) -> None:
    assert errors(credit, scaled=True) > 5
