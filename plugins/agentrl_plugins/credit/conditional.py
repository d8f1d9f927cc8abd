"""Conditional: few calls of tools are worth something among those that succeeded, and nothing else."""

from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np

import agentrl
from agentrl_plugins.credit.statistics import Convention, Lone, relative, sizes_of
from agentrl_plugins.credit.strata import calls_of
from agentrl_plugins.credit.turns import read_turns


@agentrl.hookimpl
def register_credits(register: agentrl.Register) -> None:
    register("conditional", conditional)


def conditional(
    trajectories: Sequence[agentrl.Trajectory],
    *,
    weight: Annotated[float, "weight of the second channel"] = 0.15,
    main: Annotated[Literal["success", "return"], "what the first channel compares"] = "success",
    std: Annotated[bool, "divide by the standard deviation; else both channels are only centred"] = True,
    ddof: Annotated[Literal[0, 1], "1: standard deviation of a sample, 0: of a population"] = 1,
    epsilon: Annotated[float, "added to the standard deviation"] = 1e-6,
    lone: Annotated[Lone, "first channel of a trajectory alone in its group: 0, or its raw value"] = "zero",
) -> agentrl.Advantages:
    """Every turn gets z(success) + weight · z(1 / (calls + 1)), the second among successes that called a tool.

    Source: HDPO (Metis; authors' code), which gives each channel a clipped loss of its own, with weights 1 and 0.15.
    Their sum is the same as long as no token is clipped. Fewer than two such successes, and all other trajectories, get
    0 in the second channel, so that doing little is never better than succeeding. `main="return"` is ours. Raises
    DataError for failed trajectories.

    By hand, centred, weight 1: of two successes one needs a call, one three (1/2 and 1/4, ±1/8); a failure has none:

    >>> def play(calls, success):
    ...     info = {"calls": [{"name": "look"}] * calls, "success": success}
    ...     turn = agentrl.Turn("", agentrl.Completion("go"), "go", 0.0, "", info=info)
    ...     return agentrl.Trajectory((turn,), agentrl.Task("train", 0), "g", agentrl.Outcome.TERMINATED)
    >>> played = [play(1, True), play(3, True), play(0, False), play(0, False)]
    >>> [a.tolist() for a in conditional(played, std=False, weight=1.0)]
    [[0.625], [0.375], [-0.5], [-0.5]]
    """
    turns = read_turns(trajectories)
    succeeded = np.array([trajectory.success for trajectory in trajectories], np.bool_)
    first = succeeded.astype(np.float64) if main == "success" else turns.returns
    calls = np.array([sum(len(calls_of(turn)) for turn in trajectory.turns) for trajectory in trajectories])
    compared = succeeded & (calls > 0)
    _, codes = np.unique(turns.group[compared], return_inverse=True)
    sizes = np.ones(len(first)) if main == "success" else sizes_of(turns).returns
    advantages, _ = relative(first, turns.group, Convention(std, ddof, epsilon, lone), sizes)
    advantages[compared] += weight * relative(1 / (calls[compared] + 1), codes, Convention(std, ddof, epsilon))[0]
    return turns.split(advantages[turns.trajectory])
