"""RLOO: the return of a trajectory against the mean of the others in its group."""

from collections.abc import Sequence
from typing import Annotated

import numpy as np

import agentrl
from agentrl_plugins.credit.statistics import Convention, Lone, relative, sizes_of
from agentrl_plugins.credit.turns import read_turns


@agentrl.hookimpl
def register_credits(register: agentrl.Register) -> None:
    register("rloo", rloo)


def rloo(
    trajectories: Sequence[agentrl.Trajectory],
    *,
    lone: Annotated[Lone, "advantage of a trajectory alone in its group: 0, or its raw return (as in verl)"] = "zero",
    reward_weights: Annotated[
        dict[str, float] | None, "named parts of the reward → weight; `turn.reward` unless given"
    ] = None,
) -> agentrl.Advantages:
    """Every turn of trajectory i gets R_i minus the mean return of the other n - 1 trajectories of its group.

    Source: Ahmadian et al. (2402.14740), section 3.1; equal to n / (n - 1) · (R_i - mean), which is how it is
    computed. Equal returns give exactly 0. Raises DataError for failed trajectories.

    By hand: for returns 1, 0, 2 the others' means are 1, 1.5 and 0.5:

    >>> def play(*rewards):
    ...     turns = [agentrl.Turn("", agentrl.Completion("go"), "go", reward, "") for reward in rewards]
    ...     return agentrl.Trajectory(tuple(turns), agentrl.Task("train", 0), "g", agentrl.Outcome.TERMINATED)
    >>> [a.tolist() for a in rloo([play(0, 1), play(0), play(2)])]
    [[0.0, 0.0], [-1.5], [1.5]]
    """
    turns = read_turns(trajectories, reward_weights)
    centred, _ = relative(turns.returns, turns.group, Convention(std=False, lone=lone), sizes_of(turns).returns)
    members = np.bincount(turns.group)
    advantages = centred * (members / np.maximum(members - 1, 1))[turns.group]
    return turns.split(advantages[turns.trajectory])
