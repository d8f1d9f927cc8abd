"""A credit that reads `Trajectory.final`: the shortest way to the goal over everything that a group walked."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Literal, NamedTuple, TypeAlias

import numpy as np

import agentrl
from agentrl import Advantages, ConfigError, Floats, Trajectory

Node: TypeAlias = str | tuple[str, ...]
"""What counts as one state: an anchor; the goal; an end that no world described."""

GOAL: Node = ("goal",)


@agentrl.hookimpl
def register_credits(register: agentrl.Register) -> None:
    register("graph", graph)


def graph(
    trajectories: Sequence[Trajectory],
    *,
    form: Annotated[Literal["paper", "recipe"], "whether a move's own cost counts in its value"] = "paper",
    scale: Annotated[float, "value of a node at distance 0"] = 10.0,
    omega: Annotated[float, "factor on that value for every move further away"] = 0.1,
) -> Advantages:
    """A^E + A^G, where A^E = z(return) over the group (GraphGPO, 2605.26684).

    The nodes of a group's graph are its anchors and GOAL. Each acting turn is a move from its anchor to the next one;
    the last of a success leads to GOAL, that of another trajectory to its final anchor (without `final`: to an end of
    its own). d(v) is the number of moves from v to GOAL over those of all members, failures included; what cannot
    reach it lies one further than the furthest that can. A move to v has the value scale · omega^(d(v) + 1) (`paper`,
    equation 4) or scale · omega^d(v) (`recipe`, the code of an independent implementation); they differ only by the
    1e-6 in z. A^G = z(value) over all moves of the group that leave the same node: 0 for a lone one, and everywhere in
    a group without a success. z(x) = (x - mean) / (std + 1e-6), ddof 1.

    A branch's inherited turns are on the map, but are moves of its parent; a spoken turn takes the advantage of the
    act that follows. Left out in this example: graphs kept from update to update.
    """
    if scale <= 0 or not 0 < omega < 1:
        raise ConfigError(f"credit 'graph': scale = {scale}, omega = {omega}; scale is positive, omega between 0 and 1")
    advantages = [np.zeros(len(trajectory.turns)) for trajectory in trajectories]
    for members in agentrl.groups(trajectories).values():
        walked = [move for i in members for move in moves(trajectories[i], i)]
        distance = distances(walked)
        for rivals in leaving_the_same_node(walked):
            values = [scale * omega ** (distance[move.end] + (form == "paper")) for move in rivals]
            for move, value in zip(rivals, z(values), strict=True):
                advantages[move.trajectory][move.turn] = value
        for i, value in zip(members, z([trajectories[i].episode_return for i in members]), strict=True):
            advantages[i] = advantages[i][trajectories[i].next_act] + value
    return list(advantages)


class Move(NamedTuple):
    """One acting turn as an edge."""

    trajectory: int  # its position among those that are credited
    turn: int
    start: Node
    end: Node
    own: bool  # not inherited


def moves(trajectory: Trajectory, position: int) -> Iterator[Move]:
    """The acting turns of a trajectory, in order."""
    acts = [turn for turn, said in enumerate(trajectory.turns) if said.kind == "act"]
    last: Node = trajectory.final.anchor if trajectory.final else ("end", trajectory.id)
    nodes = [*(trajectory.turns[turn].anchor for turn in acts), GOAL if trajectory.success else last]
    for turn, start, end in zip(acts, nodes, nodes[1:], strict=False):
        yield Move(position, turn, start, end, turn >= trajectory.inherited)


def distances(walked: Sequence[Move]) -> dict[Node, int]:
    """Moves to GOAL from every node that a move led to, by breadth-first search from GOAL."""
    before: dict[Node, set[Node]] = defaultdict(set)
    for move in walked:
        before[move.end].add(move.start)
    distance, reached = {GOAL: 0}, {GOAL}
    while reached:
        steps = 1 + max(distance.values())
        reached = {start for end in reached for start in before[end]} - distance.keys()
        distance |= dict.fromkeys(reached, steps)
    lost = 1 + max(distance.values())
    return {move.end: distance.get(move.end, lost) for move in walked}


def leaving_the_same_node(walked: Iterable[Move]) -> Iterable[Sequence[Move]]:
    """Moves that were alternatives to one another."""
    rivals: dict[Node, list[Move]] = defaultdict(list)
    for move in walked:
        if move.own:
            rivals[move.start].append(move)
    return rivals.values()


def z(values: Sequence[float]) -> Floats:
    """float64 [N], standardised; exactly 0 where nothing varies, but for the rounding of sums."""
    x = np.array(values, np.float64)
    varies = np.ptp(x) > max(1e-12 * np.abs(x).max(), 1e-15)
    return (x - x.mean()) / (x.std(ddof=1) + 1e-6) if varies else np.zeros(len(x))
