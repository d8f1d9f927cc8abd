"""Decoupled: each named reward is compared in its group before they are added, so that no sum hides one behind another."""

from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np

import agentrl
from agentrl_plugins.credit.statistics import Convention, Lone, relative
from agentrl_plugins.credit.turns import read_turns
from agentrl_plugins.credit.whitening import whitened


@agentrl.hookimpl
def register_credits(register: agentrl.Register) -> None:
    register("decoupled", decoupled, scope="update")


def decoupled(
    trajectories: Sequence[agentrl.Trajectory],
    *,
    reward_weights: Annotated[
        dict[str, float] | None, "named parts of the reward → weight; every part with weight 1 unless given"
    ] = None,
    weighting: Annotated[
        Literal["token", "trajectory"], "over what the update is whitened: as coded, or one entry per trajectory"
    ] = "token",
    whiten: Annotated[
        Literal["shift", "scale", "none"], "subtract mean and divide by deviation; only divide; leave as it is"
    ] = "shift",
    ddof: Annotated[Literal[0, 1], "1: standard deviation of a sample, 0: of a population"] = 1,
    epsilon: Annotated[float, "added to the standard deviation of a group; whitening adds 1e-8"] = 1e-6,
    lone: Annotated[Lone, "a trajectory alone in its group gets 0 before whitening, or its raw returns"] = "zero",
) -> agentrl.Advantages:
    """Every turn gets the whitened sum over k of weight · z(R^k), R^k being a trajectory's sum of the reward named k.

    Source: GDPO (2601.05242; paper and authors' code). Whitening shifts by the update's mean, so a group without any
    signal gets a small constant; `whiten="scale"` (ours) leaves such a group at 0. Raises DataError for failed
    trajectories, rewards without names, and weights for names that no turn has.

    By hand: summed first, (goal 1, form 0) and (0, 1) tie. Decoupled with weights 1 and 0.5 they do not; one group of
    two has deviation √0.5, so ±0.707 · (1 - 0.5):

    >>> def play(goal, form):
    ...     turn = agentrl.Turn("", agentrl.Completion("go"), "go", goal + form, "", {"goal": goal, "form": form})
    ...     return agentrl.Trajectory((turn,), agentrl.Task("train", 0), "g", agentrl.Outcome.TERMINATED)
    >>> weights = {"goal": 1.0, "form": 0.5}
    >>> [a.round(3).tolist() for a in decoupled([play(1, 0), play(0, 1)], reward_weights=weights, whiten="none")]
    [[0.354], [-0.354]]
    """
    names = sorted({name for trajectory in trajectories for turn in trajectory.turns for name in turn.rewards})
    weights = dict.fromkeys(names, 1.0) if reward_weights is None else reward_weights
    turns = read_turns(trajectories, weights)
    convention = Convention(True, ddof, epsilon, lone)
    scores = np.zeros(len(trajectories))
    for name, weight in weights.items():
        parts = [[turn.rewards.get(name, 0.0) for turn in trajectory.turns] for trajectory in trajectories]
        total = np.array([sum(each) for each in parts], np.float64)
        size = np.array([sum(map(abs, each)) for each in parts], np.float64)
        scores += weight * relative(total, turns.group, convention, size)[0]
    counts = turns.tokens() if weighting == "token" else np.ones(len(trajectories))
    scores = whitened(scores, counts, ddof=ddof, epsilon=1e-8, how=whiten)
    return turns.split(scores[turns.trajectory])
