"""Return-to-go: what came after a turn, against what usually comes."""

from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np

import agentrl
from agentrl_plugins.credit.statistics import Lone, difference, group_statistics, returns_to_go
from agentrl_plugins.credit.turns import FlatTurns, read_turns


@agentrl.hookimpl
def register_credits(register: agentrl.Register) -> None:
    register("return_to_go", return_to_go)


def return_to_go(
    trajectories: Sequence[agentrl.Trajectory],
    *,
    gamma: Annotated[float, "discount of a turn, from 0 to 1; 1 is the undiscounted objective"] = 1.0,
    baseline: Annotated[
        Literal["none", "group", "turn"], "what is subtracted: nothing, the group's mean at its start, or at each turn"
    ] = "group",
    lone: Annotated[
        Lone,
        "with a baseline, a trajectory alone in its group gets 0, or its raw G_t",
        agentrl.OnlyWith("baseline", "group", "turn"),
    ] = "zero",
    reward_weights: Annotated[
        dict[str, float] | None, "named parts of the reward → weight; `turn.reward` unless given"
    ] = None,
) -> agentrl.Advantages:
    """Turn t gets G_t - baseline, where G_t = r_t + gamma · G_{t+1}.

    `baseline="none"` is REINFORCE with return-to-go (Williams 1992; Sutton and Barto, section 13.3). `"group"`
    subtracts the mean over the group's trajectories of G at their first turn, an estimate of the value of the start
    (ibid., section 13.4). `"turn"` subtracts the mean of G_t over the group at the same turn index; a trajectory that
    has ended counts as 0 there, because leaving it out is biased when the policy chooses where to stop.

    With `"turn"`, equal trajectories get exactly 0; what differs from its baseline by rounding only gets 0. Raises DataError for failed trajectories.

    By hand, gamma 0.5: rewards 0, 1 give G = 0.5, 1; the reward 0 gives 0. The starts have mean 0.25, and turn 1 has
    mean (1 + 0) / 2:

    >>> def play(*rewards):
    ...     turns = [agentrl.Turn("", agentrl.Completion("go"), "go", reward, "") for reward in rewards]
    ...     return agentrl.Trajectory(tuple(turns), agentrl.Task("train", 0), "g", agentrl.Outcome.TERMINATED)
    >>> [a.tolist() for a in return_to_go([play(0, 1), play(0)], gamma=0.5)]
    [[0.25, 0.75], [-0.25]]
    >>> [a.tolist() for a in return_to_go([play(0, 1), play(0)], gamma=0.5, baseline="turn")]
    [[0.25, 0.5], [-0.25]]
    """
    turns = read_turns(trajectories, reward_weights)
    later, sizes = returns_to_go(turns, gamma)
    if baseline == "none":
        return turns.split(later)
    expected = _mean_of_starts(turns, later) if baseline == "group" else _mean_at_turn(turns, later)
    alone = np.bincount(turns.group)[turns.group[turns.trajectory]] == 1
    largest = np.zeros(int(turns.group.max(initial=-1)) + 1)  # of each group
    np.maximum.at(largest, turns.group, np.maximum.reduceat(sizes, turns.ends - turns.lengths))
    better = difference(later, expected, largest[turns.group[turns.trajectory]])
    return turns.split(np.where(alone, later if lone == "raw" else 0.0, better))


def _mean_of_starts(turns: FlatTurns, later: agentrl.Floats) -> agentrl.Floats:
    starts = later[turns.ends - turns.lengths]  # [B]
    return group_statistics(starts, turns.group).mean[turns.group][turns.trajectory]


def _mean_at_turn(turns: FlatTurns, later: agentrl.Floats) -> agentrl.Floats:
    """[N]; 0 for turns that do not count."""
    cell, members = turns.same_turn()
    going = group_statistics(later, cell)
    mean: agentrl.Floats = (going.mean * (going.count / members))[cell]  # exact where nobody has ended: share 1
    return np.where(turns.counted, mean, 0.0)
