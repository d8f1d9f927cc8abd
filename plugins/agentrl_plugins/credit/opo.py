"""OPO: the return against a mean of the group in which long trajectories weigh more."""

from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np

import agentrl
from agentrl_plugins.credit.statistics import group_statistics, sizes_of
from agentrl_plugins.credit.turns import read_turns


@agentrl.hookimpl
def register_credits(register: agentrl.Register) -> None:
    register("opo", opo)


def opo(
    trajectories: Sequence[agentrl.Trajectory],
    *,
    length: Annotated[Literal["tokens", "turns"], "what a trajectory's weight in the mean is"] = "tokens",
    reward_weights: Annotated[
        dict[str, float] | None, "named parts of the reward → weight; `turn.reward` unless given"
    ] = None,
) -> agentrl.Advantages:
    """Every turn of trajectory i gets R_i - Σ L R / Σ L over its group, L being the number of sampled tokens.

    Source: OPO (2505.23585; the paper): the baseline of least variance, were the squared gradient of a trajectory
    proportional to its length. `length="turns"` is ours, for policies without tokens. A group of one, or of equal
    returns, gets exactly 0. Raises DataError for failed trajectories.

    By hand, by turns: a return of 1 in three turns and 0 in one have the baseline 0.75:

    >>> def play(*rewards):
    ...     turns = [agentrl.Turn("", agentrl.Completion("go"), "go", reward, "") for reward in rewards]
    ...     return agentrl.Trajectory(tuple(turns), agentrl.Task("train", 0), "g", agentrl.Outcome.TERMINATED)
    >>> [a.tolist() for a in opo([play(0, 0, 1), play(0)], length="turns")]
    [[0.25, 0.25, 0.25], [-0.75]]
    """
    turns = read_turns(trajectories, reward_weights)
    returns = turns.returns
    weight = turns.tokens() if length == "tokens" else turns.lengths.astype(np.float64)
    found = group_statistics(returns, turns.group, sizes=sizes_of(turns).returns)
    centred = np.where(found.varies[turns.group], returns - found.mean[turns.group], 0.0)
    order = np.lexsort((weight, returns))  # sums that do not depend on the order of trajectories
    group, total = turns.group[order], np.bincount(turns.group, weight)
    baseline = np.bincount(group, (centred * weight)[order]) / np.maximum(total, 1.0)
    return turns.split((centred - baseline[turns.group])[turns.trajectory])
