"""Turn-level GAE: temporal differences of a critic's values, from turn to turn."""

from collections.abc import Callable, Sequence
from typing import Annotated

import numpy as np

import agentrl
from agentrl_plugins.credit.turns import read_turns


@agentrl.hookimpl
def register_columns(declare: Callable[[agentrl.Column], None]) -> None:
    declare(
        agentrl.Column(
            "final_value", "float64", "trajectory", help="value of the state after the last action, by a critic"
        )
    )


@agentrl.hookimpl
def register_credits(register: agentrl.Register) -> None:
    register("turn_gae", turn_gae)


def turn_gae(
    trajectories: Sequence[agentrl.Trajectory],
    *,
    gamma: Annotated[float, "discount of a turn, from 0 to 1"] = 0.95,
    trace: Annotated[float, "λ: 0 believes the critic, 1 the rewards"] = 0.9,
) -> agentrl.Advantages:
    """Turn t gets A_t = δ_t + gamma · trace · A_{t+1}, where δ_t = r_t + gamma · V_{t+1} - V_t.

    Sources: GAE (1506.02438) over turns, as in AReaL (code). V_t is the column `value` of turn t: of the state before it,
    so values of observation tokens never enter. After the last turn V is 0 where the world ended the task, else the
    column `final_value` of the trajectory, for a limit is no end. A spoken turn costs no discount and takes the advantage
    of the act that follows. Raises DataError for failed trajectories and for values that nobody wrote: a judge writes
    them, and none that does comes along yet (`agentrl new judge NAME` begins one).

    By hand, gamma 0.5, trace 1: rewards 0, 1 and values 0.25, 0.75 give δ = 0.125, 0.25 and A = 0.125 + 0.125, 0.25:

    >>> turns = [agentrl.Turn("", agentrl.Completion("go"), "go", r, "", columns={"value": v}) for r, v in ((0, 0.25), (1, 0.75))]
    >>> play = agentrl.Trajectory(tuple(turns), agentrl.Task("train", 0), "g", agentrl.Outcome.TERMINATED)
    >>> [a.tolist() for a in turn_gae([play], gamma=0.5, trace=1.0)]
    [[0.25, 0.25]]
    """
    for name, value in (("gamma", gamma), ("trace", trace)):
        if not 0 <= value <= 1:
            raise agentrl.ConfigError(f"credit 'turn_gae': {name} = {value}; it lies between 0 and 1")
    read_turns(trajectories)  # refuses what gets no credit
    advantages: agentrl.Advantages = []
    for trajectory in trajectories:
        ended = trajectory.outcome is agentrl.Outcome.TERMINATED
        ahead, after = 0.0, 0.0 if ended else _value(trajectory.columns, "final_value", f"trajectory {trajectory.id}")
        found = np.zeros(len(trajectory.turns))
        for position in range(len(found) - 1, -1, -1):
            turn = trajectory.turns[position]
            if turn.kind == "act":
                value = _value(turn.columns, "value", f"turn {position} of trajectory {trajectory.id}")
                ahead = turn.reward + gamma * after - value + gamma * trace * ahead
                after = value
            else:
                ahead += turn.reward
            found[position] = ahead
        advantages.append(found)
    return advantages


def _value(columns: agentrl.Info, name: str, where: str) -> float:
    value = columns.get(name)
    if not isinstance(value, (int, float)):
        raise agentrl.DataError(f"credit 'turn_gae': {where} has no {name!r}; let a judge (a critic) write it")
    return float(value)
