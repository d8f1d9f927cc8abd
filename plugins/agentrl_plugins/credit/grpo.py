"""GRPO: the return of a trajectory against the returns of its group."""

from collections.abc import Sequence
from typing import Annotated, Literal

import agentrl
from agentrl_plugins.credit.statistics import Convention, Lone, relative, sizes_of
from agentrl_plugins.credit.turns import read_turns


@agentrl.hookimpl
def register_credits(register: agentrl.Register) -> None:
    register("grpo", grpo)


def grpo(
    trajectories: Sequence[agentrl.Trajectory],
    *,
    std: Annotated[bool, "divide by the standard deviation of the group; else returns are only centred"] = True,
    ddof: Annotated[Literal[0, 1], "1: standard deviation of a sample, 0: of a population"] = 1,
    epsilon: Annotated[float, "added to the standard deviation"] = 1e-6,
    lone: Annotated[Lone, "advantage of a trajectory alone in its group: 0, or its raw return"] = "zero",
    min_std: Annotated[float, "a group whose standard deviation is not above this gets 0"] = 0.0,
    reward_weights: Annotated[
        dict[str, float] | None, "named parts of the reward → weight; `turn.reward` unless given"
    ] = None,
) -> agentrl.Advantages:
    """Every turn of trajectory i gets (R_i - mean) / (std + epsilon) over the returns R of its group.

    Sources: DeepSeekMath (2402.03300), section 4.1.2, for the formula; `std=False` is Dr.GRPO (2503.20783), which
    shows that dividing favours groups of little variance. Defaults: `ddof=1` and `epsilon=1e-6` as in verl,
    verl-agent, SkyRL, RAGEN; `lone="zero"` as in TRL and ROLL, because one trajectory has nothing to be better than.
    Equal returns give exactly 0, whatever the rounding of their sums. Other conventions:

    | as in | settings |
    |---|---|
    | verl, verl-agent, SkyRL, RAGEN, Tree-GRPO | `lone="raw"` |
    | TRL | `epsilon=1e-4`; its asynchronous trainer `ddof=0, epsilon=1e-8` |
    | rLLM | `ddof=0, lone="raw"` |
    | ROLL | `min_std=1e-6` |
    | AReaL | `epsilon=1e-5` |
    | prime-rl, Dr.GRPO | `std=False` |

    Raises DataError for failed trajectories.

    By hand: returns 1, 0, 0, 1 have mean 0.5 and standard deviation √(4 · 0.25 / 3) = 0.577, so ±0.866:

    >>> def play(*rewards):
    ...     turns = [agentrl.Turn("", agentrl.Completion("go"), "go", reward, "") for reward in rewards]
    ...     return agentrl.Trajectory(tuple(turns), agentrl.Task("train", 0), "g", agentrl.Outcome.TERMINATED)
    >>> [a.round(3).tolist() for a in grpo([play(0, 1), play(0), play(0), play(1)])]
    [[0.866, 0.866], [-0.866], [-0.866], [0.866]]
    """
    turns = read_turns(trajectories, reward_weights)
    convention = Convention(std, ddof, epsilon, lone, min_std)
    advantages, _ = relative(turns.returns, turns.group, convention, sizes_of(turns).returns)
    return turns.split(advantages[turns.trajectory])
