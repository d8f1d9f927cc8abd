"""Milestones: turns are paid for the next thing that was reached, and compared with others on the way to the same one."""

from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np

import agentrl
from agentrl_plugins.credit.statistics import Convention, Lone, relative, sizes_of
from agentrl_plugins.credit.turns import FlatTurns, read_turns


@agentrl.hookimpl
def register_credits(register: agentrl.Register) -> None:
    register("milestones", milestones)


def milestones(
    trajectories: Sequence[agentrl.Trajectory],
    *,
    gamma: Annotated[float, "discount of a turn on the way to a milestone, from 0 to 1"] = 0.95,
    weight: Annotated[float, "weight of the term of segments; the paper's λ"] = 1.0,
    bonus: Annotated[float, "what a milestone pays"] = 10.0,
    std: Annotated[bool, "divide both terms by the standard deviation; else they are only centred"] = False,
    key: Annotated[
        Literal["count", "set"], "segments are the same with as many milestones before them, or with the very same ones"
    ] = "count",
    ddof: Annotated[Literal[0, 1], "1: standard deviation of a sample, 0: of a population"] = 1,
    epsilon: Annotated[float, "added to the standard deviation"] = 1e-6,
    lone: Annotated[Lone, "episode term of a trajectory alone in its group: 0, or its raw return"] = "zero",
) -> agentrl.Advantages:
    """Turn t gets A^E + weight · A^S: the return against the group, and the way to a milestone against other ways.

    Source: BEACON (2605.06078; authors' code). A turn whose `info["milestones"]` has more entries than before closes a
    segment, however many it adds. A turn of a segment that closes at turn k is worth bonus · gamma^(k - t), one after
    the last milestone 0. A^S compares that with all turns of the group that had reached as many milestones; alone it is
    0. `key="set"` (ours) asks for the same ones, for worlds in which they come in any order. What the first turn reports
    counts as reached by it. Raises DataError for failed trajectories, ConfigError for a gamma out of range.

    By hand, gamma 0.5: one reaches a milestone at its second turn (5, 10), one never (0, 0); their mean is 3.75, and
    the returns are equal:

    >>> def play(*reached):
    ...     info = [{"milestones": names} for names in reached]
    ...     turns = [agentrl.Turn("", agentrl.Completion("go"), "go", 0.0, "", info=each) for each in info]
    ...     return agentrl.Trajectory(tuple(turns), agentrl.Task("train", 0), "g", agentrl.Outcome.TURN_LIMIT)
    >>> [a.tolist() for a in milestones([play((), ("door",)), play((), ())], gamma=0.5)]
    [[1.25, 6.25], [-3.75, -3.75]]
    """
    if not 0 <= gamma <= 1:
        raise agentrl.ConfigError(f"gamma = {gamma}: a discount lies between 0 and 1")
    turns = read_turns(trajectories)
    convention = Convention(std, ddof, epsilon)
    alone = Convention(std, ddof, epsilon, lone)
    episode, _ = relative(turns.returns, turns.group, alone, sizes_of(turns).returns)
    worth, segment = _segments(trajectories, turns, gamma, key)
    codes: dict[object, int] = {}
    segments = np.array([codes.setdefault(each, len(codes)) for each in segment], np.int64)
    step, _ = relative(bonus * worth, segments, convention)
    return turns.split(episode[turns.trajectory] + weight * step)


def _segments(
    trajectories: Sequence[agentrl.Trajectory], turns: FlatTurns, gamma: float, key: str
) -> tuple[agentrl.Floats, list[object]]:
    """[N]: the discount from each turn to its milestone, 0 where none comes; and what tells its segment from others."""
    worth, segment, counted = np.zeros(len(turns.turns)), list[object](), turns.counted.tolist()
    for group, trajectory in zip(turns.group.tolist(), trajectories, strict=True):
        start, reached = len(segment), frozenset[str]()
        closes: list[int] = []
        for position, turn in enumerate(trajectory.turns, start):
            names = turn.info.get("milestones")
            now = reached.union(names) if isinstance(names, (list, tuple)) else reached
            same = len(reached) if key == "count" else reached
            segment.append((group, same) if counted[position] else position)
            if len(now) > len(reached):
                closes.append(position)
            reached = now
        ahead = 0.0
        for position in range(len(segment) - 1, start - 1, -1):
            spoken = turns.turns[position].kind != "act"
            ahead = 1.0 if position in closes else ahead if spoken else ahead * gamma
            worth[position] = ahead
    return worth, segment
