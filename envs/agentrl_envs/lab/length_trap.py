"""Length trap: long episodes are good ones, and yet making them longer does nothing."""

from __future__ import annotations

from typing import Any

import agentrl
from agentrl_envs.lab.exact import Transition, certain
from agentrl_envs.lab.tabular import TabularWorld, divided, require

COLOURS = ("red", "green", "blue")


@agentrl.hookimpl
def register_environments(register: Any) -> None:
    register("lab_length_trap", LengthTrap)


class LengthTrap(TabularWorld[tuple[str, int, bool]]):
    """Choose the gate of the sign's colour, then write up to `most` lines and finish; only the gate decides the reward.

    For methods that must not confuse length with worth (EqLen, and the denominators of losses). Behind the right gate
    lie `detour` turns without a choice, so length and return go together; but writing a line or finishing has the
    advantage 0 under every policy. Advantages averaged over each trajectory's turns fail: what they do to long, good
    episodes weighs less than what they do to short, bad ones, and the lines grow without any gain.

    By hand, uniform play: V = 1/3 at the gates, Q = 1 for the right one and 0 for the others; V = 1 or 0 from there on.
    """

    instructions = "Take the gate that the sign names, then write. Say one of the actions that are offered."
    first = "gates", 0, True

    def __init__(self, *, detour: int = 4, most: int = 4) -> None:
        require(detour >= 1 and most >= 1, f"detour = {detour}, most = {most}: give at least 1 of each")
        super().__init__(divided(COLOURS, ("letter", "poem", "list", "report")))
        self._detour, self._most, self.max_turns = detour, most, detour + most + 6

    def look(self, state: tuple[str, int, bool]) -> agentrl.Scene:
        (where, count, right), (colour, work) = state, self.details
        if where == "gates":
            return agentrl.Scene(f"Three gates. The sign says {colour}.", admissible=COLOURS)
        if where == "detour":
            return agentrl.Scene(f"The way winds, bend {count + 1} of {self._detour}.", admissible=("go on",))
        text = f"You write a {work}; it has {count} lines."
        actions = () if where == "end" else ("finish",) if count == self._most else ("add a line", "finish")
        # The observation hides which gate it was, so that no policy writes differently behind the right one.
        return agentrl.Scene(text, admissible=actions, anchor=f"{text} The gate was {'right' if right else 'wrong'}.")

    def transitions(self, state: tuple[str, int, bool], action: str) -> tuple[Transition[tuple[str, int, bool]], ...]:
        where, count, right = state
        if where == "gates":
            return certain(("detour", 0, True) if action == self.details[0] else ("desk", 0, False))
        if where == "detour":
            return certain(("detour", count + 1, True) if count + 1 < self._detour else ("desk", 0, True))
        done = action == "finish"
        return certain(("end", count, right), float(right), True) if done else certain(("desk", count + 1, right))

    def expert(self, state: tuple[str, int, bool]) -> str:
        return {"gates": str(self.details[0]), "detour": "go on"}.get(state[0], "finish")
