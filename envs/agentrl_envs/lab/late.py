"""Late: the reward comes long after the turn that earned it."""

from __future__ import annotations

import itertools
from typing import Any

import agentrl
from agentrl_envs.lab.exact import Transition, certain
from agentrl_envs.lab.tabular import TabularWorld, divided, require

COLOURS = ("red", "green", "blue")
PASTIMES = tuple(itertools.pairwise(("walk", "read", "sing", "draw", "swim")))


@agentrl.hookimpl
def register_environments(register: Any) -> None:
    register("lab_late", Late)


class Late(TabularWorld[tuple[int, str]]):
    """Pick the stone that the sign names; `delay` turns of free choice later a warm one pays 1, a cold one nothing.

    For credits that carry a reward back over many turns. Only the first turn matters, all others have the advantage 0
    under every policy. A discount fails as `delay` grows: 0.95 ** delay of the reward is left at the first turn, while
    turns that do not matter keep more of it. Returns without a discount treat them alike.

    By hand, uniform play: V = 1/3 at the stones, Q = 1 for the right one and 0 for the others; then V = 1 or 0.
    """

    instructions = "Pick the stone that the sign names, then pass the time. Say one of the actions that are offered."

    def __init__(self, *, delay: int = 8) -> None:
        require(1 <= delay <= 500, f"delay = {delay}: give 1 to 500")
        super().__init__(divided(COLOURS, PASTIMES))
        self._delay, self.max_turns = delay, delay + 4

    def start(self) -> tuple[int, str]:
        return self._delay, "no"

    def look(self, state: tuple[int, str]) -> agentrl.Scene:
        (left, stone), (colour, pastimes) = state, self.details
        if stone == "no":
            return agentrl.Scene(f"Three stones. The sign says {colour}.", admissible=COLOURS)
        text = f"You have a {stone} stone, {left} turns to go. You may {pastimes[0]} or {pastimes[1]}."
        return agentrl.Scene(text, admissible=pastimes if left else ())

    def transitions(self, state: tuple[int, str], action: str) -> tuple[Transition[tuple[int, str]], ...]:
        left, stone = state
        if stone == "no":
            return certain((left, "warm" if action == self.details[0] else "cold"))
        return certain((left - 1, stone), float(left == 1 and stone == "warm"), left == 1)

    def expert(self, state: tuple[int, str]) -> str:
        return str(self.details[0] if state[1] == "no" else self.details[1][0])
