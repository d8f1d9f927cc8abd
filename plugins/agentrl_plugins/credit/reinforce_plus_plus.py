"""REINFORCE++: the return, less the group's mean or not, whitened over the whole update."""

from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np

import agentrl
from agentrl_plugins.credit.statistics import Convention, Lone, relative, sizes_of
from agentrl_plugins.credit.turns import read_turns
from agentrl_plugins.credit.whitening import whitened


@agentrl.hookimpl
def register_credits(register: agentrl.Register) -> None:
    register("reinforce_plus_plus", reinforce_plus_plus, scope="update")


def reinforce_plus_plus(
    trajectories: Sequence[agentrl.Trajectory],
    *,
    baseline: Annotated[Literal["none", "group"], "what is subtracted before whitening"] = "none",
    weighting: Annotated[Literal["token", "trajectory"], "what is whitened over"] = "token",
    epsilon: Annotated[float, "added to the standard deviation"] = 1e-8,
    lone: Annotated[Lone, "with a baseline, a trajectory alone in its group gets 0 before whitening, or R"] = "zero",
    reward_weights: Annotated[
        dict[str, float] | None, "named parts of the reward → weight; `turn.reward` unless given"
    ] = None,
) -> agentrl.Advantages:
    """Every turn gets (R - mean) / (std + epsilon) over the tokens of the update; `baseline="group"`: of R - mean_g.

    Source: REINFORCE++ (2501.03262; the paper), and its variant with the group's mean as baseline. The penalty for
    leaving the reference that the paper puts into the reward is the loss's business here. Deviation with ddof 1, as in
    verl's masked whitening. Equal returns give exactly 0. Raises DataError for failed trajectories.

    By hand: returns 1 and 0, one token each, have mean 0.5 and deviation √0.5:

    >>> import numpy as np
    >>> ids = np.zeros(1, np.int32)
    >>> def play(reward):
    ...     said = agentrl.Completion("go", ids, ids, np.zeros(1, np.float32), None, ids)
    ...     turn = agentrl.Turn("", said, "go", reward, "")
    ...     return agentrl.Trajectory((turn,), agentrl.Task("train", 0), "g", agentrl.Outcome.TERMINATED)
    >>> [a.round(3).tolist() for a in reinforce_plus_plus([play(1), play(0)])]
    [[0.707], [-0.707]]
    """
    turns = read_turns(trajectories, reward_weights)
    returns = turns.returns
    if baseline == "group":
        returns, _ = relative(returns, turns.group, Convention(std=False, lone=lone), sizes_of(turns).returns)
    counts = turns.tokens() if weighting == "token" else np.ones(len(trajectories))
    scores = whitened(returns, counts, ddof=1, epsilon=epsilon, how="shift")
    return turns.split(scores[turns.trajectory])
