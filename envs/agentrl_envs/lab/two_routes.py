"""Two routes: a path without choices and a meadow full of them, worth the same."""

from __future__ import annotations

import itertools
from typing import Any

import agentrl
from agentrl_envs.lab.exact import Transition, certain
from agentrl_envs.lab.tabular import TabularWorld, divided, require

PAIRS = tuple(itertools.permutations(("red", "green", "blue", "white"), 2))


@agentrl.hookimpl
def register_environments(register: Any) -> None:
    register("lab_two_routes", TwoRoutes)


class TwoRoutes(TabularWorld[tuple[str, int]]):
    """Take the path or the meadow, `parts` turns each, to the same two doors; open the one that the sign names.

    For methods that look at the policy's entropy (EMPG, arXiv 2509.09265). The path leaves no choice, the meadow has
    `ways` equally good ones in each part. Up to the doors every advantage is exactly 0, whatever the policy: only a
    preference for clear turns moves the choice at the fork, and a credit without one that moves it follows noise.

    By hand, uniform play: V = 1/2 at the fork and on both routes; at the doors Q = 1 and 0.
    """

    instructions = "Reach the doors and open the one that the sign names. Say one of the actions that are offered."
    first = "fork", 0

    def __init__(self, *, parts: int = 2, ways: int = 4) -> None:
        require(parts >= 1 and ways >= 1, f"parts = {parts}, ways = {ways}: give at least 1 of each")
        super().__init__(divided(("left", "right"), PAIRS))
        self._parts, self._ways, self.max_turns = parts, ways, 2 * (parts + 2)

    def look(self, state: tuple[str, int]) -> agentrl.Scene:
        (where, part), (side, (right, wrong)) = state, self.details
        if where == "fork":
            return agentrl.Scene(f"The path is on the {side}, the meadow opposite.", admissible=("left", "right"))
        if where == "doors":
            doors = tuple(sorted((right, wrong)))
            return agentrl.Scene(f"A {doors[0]} and a {doors[1]} door. The sign says {right}.", admissible=doors)
        if where == "outside":
            return agentrl.Scene("You are outside.", admissible=())
        ways = ("go on",) if where == "path" else tuple(f"way {way + 1}" for way in range(self._ways))
        return agentrl.Scene(f"You are on the {where}, part {part + 1} of {self._parts}.", admissible=ways)

    def transitions(self, state: tuple[str, int], action: str) -> tuple[Transition[tuple[str, int]], ...]:
        (where, part), (side, (right, _)) = state, self.details
        if where == "fork":
            return certain(("path" if action == side else "meadow", 0))
        if where == "doors":
            return certain(("outside", 0), float(action == right), True)
        return certain((where, part + 1) if part + 1 < self._parts else ("doors", 0))

    def expert(self, state: tuple[str, int]) -> str:
        side, (right, _) = self.details
        return {"fork": str(side), "path": "go on", "meadow": "way 1"}.get(state[0], str(right))
