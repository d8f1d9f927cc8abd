"""Decisive: of all the turns of an episode exactly one matters."""

from __future__ import annotations

from typing import Any

import agentrl
from agentrl_envs.lab.exact import Transition, certain
from agentrl_envs.lab.tabular import TabularWorld, divided, require

COLOURS = ("red", "green", "blue")


@agentrl.hookimpl
def register_environments(register: Any) -> None:
    register("lab_decisive", Decisive)


class Decisive(TabularWorld[tuple[int, str]]):
    """Once in `turns` turns a lamp lights up; name its colour, and the door is open at the end.

    For methods that find the turn that matters (ITPO, arXiv 2603.23550: its share rises above 1/turns; HPO: nothing on
    forced turns). The lamp's turn differs between tasks; of the others, every second one leaves no choice. A credit
    that spreads the outcome over all turns alike, such as GRPO, puts 1/turns of it where all of it belongs.

    By hand, uniform play: V = 1/3 until the lamp, then 1 or 0. At the lamp the advantage is 2/3 for its colour and -1/3
    for the others; everywhere else it is 0.
    """

    instructions = "When the lamp lights up, name its colour. Otherwise say one of the actions that are offered."
    first = 0, "untouched"

    def __init__(self, *, turns: int = 6) -> None:
        require(2 <= turns <= 200, f"turns = {turns}: give 2 to 200")
        super().__init__(divided(range(turns), COLOURS))
        self._turns, self.max_turns = turns, 2 * turns

    def look(self, state: tuple[int, str]) -> agentrl.Scene:
        (turn, lock), (place, colour) = state, self.details
        if turn == self._turns:
            return agentrl.Scene(f"The end. The door is {lock}.", admissible=())
        if turn == place:
            return agentrl.Scene(f"The lamp is {colour}. Which colour is it?", admissible=COLOURS)
        actions = ("wait",) if turn % 2 else ("hum", "whistle")
        return agentrl.Scene(
            f"Turn {turn + 1} of {self._turns}. The lamp is dark, the door {lock}.", admissible=actions
        )

    def transitions(self, state: tuple[int, str], action: str) -> tuple[Transition[tuple[int, str]], ...]:
        (turn, lock), (place, colour) = state, self.details
        if turn == place:
            lock = "open" if action == colour else "jammed"
        last = turn + 1 == self._turns
        return certain((turn + 1, lock), float(last and lock == "open"), last)

    def expert(self, state: tuple[int, str]) -> str:
        place, colour = self.details
        return str(colour) if state[0] == place else ("hum", "wait")[state[0] % 2]
