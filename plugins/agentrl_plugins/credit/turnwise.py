"""Turn-wise baselines: the return-to-go of a turn against the group's other trajectories at the same turn."""

from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np

import agentrl
from agentrl_plugins.credit.statistics import Convention, Lone, relative, returns_to_go, sizes_of
from agentrl_plugins.credit.turns import read_turns


@agentrl.hookimpl
def register_credits(register: agentrl.Register) -> None:
    register("turnwise", turnwise)


def turnwise(
    trajectories: Sequence[agentrl.Trajectory],
    *,
    baseline: Annotated[
        Literal["leave_one_out", "z"], "the mean of the others; or the mean of all, divided by their deviation"
    ] = "leave_one_out",
    of: Annotated[Literal["return", "reward"], "what is compared: G_t, or the turn's own reward"] = "return",
    absent: Annotated[Literal["zero", "drop"], "a trajectory that has ended counts as 0, or not at all"] = "zero",
    lone: Annotated[
        Lone | None, "a turn that nothing is compared to; None: 'raw' where absent = 'drop', else 0"
    ] = None,
    gamma: Annotated[float, "discount of a turn, from 0 to 1"] = 1.0,
    ddof: Annotated[Literal[0, 1], "1: standard deviation of a sample, 0: of a population"] = 1,
    epsilon: Annotated[float, "added to the standard deviation"] = 1e-6,
    reward_weights: Annotated[
        dict[str, float] | None, "named parts of the reward → weight; `turn.reward` unless given"
    ] = None,
) -> agentrl.Advantages:
    """Turn t gets n / (n - 1) · (G_t - mean), or (G_t - mean) / (std + epsilon), over turns t of the n in its group.

    Sources: leave-one-out is TRLOO of Dr. Kernel (2602.05885; authors' code); z-scores are MemoPilot's turn GRPO
    (2606.08656; abstract only, so the form is ours), with `of="reward"` as it and MT-GRPO have it. Both drop what has
    ended. A policy that chooses when to stop makes that biased, but for leave-one-out with `lone="raw"`; hence our
    default `absent="zero"`, which is unbiased too. z-scores and `of="reward"` are biased (of a five-cell chain with
    known gradient: by 11 to 20 %, and with a cosine of 0.35). Equal turns get exactly 0. Raises DataError for failed
    trajectories, ConfigError for a gamma out of range.

    By hand: returns-to-go 10, 10, 10 beside 0, 0. At turns 0 and 1 the other has 0 or 10; at turn 2 the other has
    ended and counts as 0:

    >>> def play(*rewards):
    ...     turns = [agentrl.Turn("", agentrl.Completion("go"), "go", reward, "") for reward in rewards]
    ...     return agentrl.Trajectory(tuple(turns), agentrl.Task("train", 0), "g", agentrl.Outcome.TERMINATED)
    >>> [a.tolist() for a in turnwise([play(0, 0, 10), play(0, 0)])]
    [[10.0, 10.0, 10.0], [-10.0, -10.0]]
    """
    turns = read_turns(trajectories, reward_weights)
    values, sizes = returns_to_go(turns, gamma) if of == "return" else (turns.rewards, sizes_of(turns).rewards)
    cell, members = turns.same_turn()
    lone = lone or ("raw" if absent == "drop" else "zero")
    if absent == "zero":
        ended = np.repeat(np.arange(len(members)), members - np.bincount(cell))
    else:
        ended, members = cell[:0], np.bincount(cell)
    convention = Convention(baseline == "z", ddof, epsilon, lone)
    values, sizes = (np.append(each, np.zeros(len(ended))) for each in (values, sizes))
    compared, _ = relative(values, np.append(cell, ended), convention, sizes)
    if baseline == "leave_one_out":
        compared *= (members / np.maximum(members - 1, 1))[np.append(cell, ended)]
    return turns.split(np.where(turns.counted, compared[: len(cell)], 0.0))
