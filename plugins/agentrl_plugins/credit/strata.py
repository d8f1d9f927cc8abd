"""Strata: a trajectory against those of its group that went about it alike, and against the whole group."""

from collections.abc import Callable, Sequence
from typing import Annotated, Literal

import numpy as np

import agentrl
from agentrl_plugins.credit.statistics import Convention, Lone, relative, sizes_of
from agentrl_plugins.credit.turns import read_turns


@agentrl.hookimpl
def register_credits(register: agentrl.Register) -> None:
    register("strata", strata)


def strata(
    trajectories: Sequence[agentrl.Trajectory],
    *,
    by: Annotated[
        Literal["calls", "turns", "errors"],
        "a stratum has as many turns that call a tool; as many turns; or as many calls that failed, and that ran",
    ] = "calls",
    alpha: Annotated[float, "share of the stratum's term, from 0 (GRPO) to 1"] = 0.5,
    std: Annotated[bool, "divide by the standard deviation; else returns are only centred"] = True,
    ddof: Annotated[Literal[0, 1], "1: standard deviation of a sample, 0: of a population"] = 1,
    epsilon: Annotated[float, "added to the standard deviation"] = 1e-6,
    lone: Annotated[Lone, "a term where a trajectory is alone: 0, or its raw return"] = "zero",
    reward_weights: Annotated[
        dict[str, float] | None, "named parts of the reward → weight; `turn.reward` unless given"
    ] = None,
) -> agentrl.Advantages:
    """Every turn gets alpha · z(R in its stratum) + (1 - alpha) · z(R in its group).

    Source: Stratified GRPO (2510.06214; the paper), whose strata are numbers of searches; its `alpha` was not seen, 0.5
    is ours. A stratum of one, or of equal returns, adds nothing. Raises DataError for failed trajectories, ConfigError
    for an alpha out of range.

    By hand, alpha 1, centred: returns 1 and 0 of one turn are compared, as are 1 and 1 of two:

    >>> def play(*rewards):
    ...     turns = [agentrl.Turn("", agentrl.Completion("go"), "go", reward, "") for reward in rewards]
    ...     return agentrl.Trajectory(tuple(turns), agentrl.Task("train", 0), "g", agentrl.Outcome.TERMINATED)
    >>> played = [play(1), play(0), play(0, 1), play(1, 0)]
    >>> [a.tolist() for a in strata(played, by="turns", alpha=1.0, std=False)]
    [[0.5], [-0.5], [0.0, 0.0], [0.0, 0.0]]
    """
    if not 0 <= alpha <= 1:
        raise agentrl.ConfigError(f"alpha = {alpha}: the share of a term lies between 0 and 1")
    turns = read_turns(trajectories, reward_weights)
    convention = Convention(std, ddof, epsilon, lone)
    codes: dict[object, int] = {}
    kinds = zip(turns.group.tolist(), map(KINDS[by], trajectories), strict=True)
    stratum = np.array([codes.setdefault(kind, len(codes)) for kind in kinds], np.int64)
    sizes = sizes_of(turns).returns
    inside, _ = relative(turns.returns, stratum, convention, sizes)
    whole, _ = relative(turns.returns, turns.group, convention, sizes)
    return turns.split((alpha * inside + (1 - alpha) * whole)[turns.trajectory])


def calls_of(turn: agentrl.Turn) -> Sequence[agentrl.Info]:
    """The calls of tools that a world reports of a turn."""
    calls = turn.info.get("calls")
    return calls if isinstance(calls, (list, tuple)) else ()


def _errors(trajectory: agentrl.Trajectory) -> tuple[int, int]:
    failed = [bool(call.get("error")) for turn in trajectory.turns for call in calls_of(turn)]
    return sum(failed), len(failed) - sum(failed)


KINDS: dict[str, Callable[[agentrl.Trajectory], object]] = {
    "calls": lambda trajectory: sum(bool(calls_of(turn)) for turn in trajectory.turns),
    "turns": lambda trajectory: sum(turn.kind == "act" for turn in trajectory.turns),
    "errors": _errors,
}
