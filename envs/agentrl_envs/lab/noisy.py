"""Noisy: moves slip and rewards shake, so that luck hides what an action was worth."""

from __future__ import annotations

from typing import Any

import agentrl
from agentrl_envs.lab.exact import Transition
from agentrl_envs.lab.tabular import TabularWorld, divided, require


@agentrl.hookimpl
def register_environments(register: Any) -> None:
    register("lab_noisy", Noisy)


class Noisy(TabularWorld[int]):
    """Walk to the exit at one end of a row of `cells`; with probability `slip` a move goes the other way.

    For values from continuations and all credits that take one play for the truth (VinePPO, graphs, trees). The exit
    pays 1, and every move `noise` more or less, each equally often. All luck comes from `np_random`, so a snapshot that
    is restored repeats it and `reseed` replaces it: continuations that share their luck agree with each other and not
    with the exact values.

    By hand, `slip` 0.2, uniform play, the last turn, next to the exit: Q = 0.8 towards it, 0.2 away, V = 1/2; two cells
    away V = 0, and 1/4 with two turns left.
    """

    instructions = "Walk to the exit. Commands: left, right."

    def __init__(self, *, cells: int = 8, slip: float = 0.2, noise: float = 0.1, max_turns: int = 60) -> None:
        require(cells >= 6 and max_turns >= cells, f"cells = {cells}: give at least 6, and as many max_turns")
        require(0 <= slip < 0.5 and noise >= 0, f"slip = {slip}, noise = {noise}: give 0 <= slip < 0.5, noise >= 0")
        super().__init__(divided(("left", "right"), range(1, cells - 1)))
        self._last, self._slip, self._noise, self.max_turns = cells - 1, slip, noise, max_turns

    def start(self) -> int:
        return int(self.details[1])

    def look(self, state: int) -> agentrl.Scene:
        text = f"You are in cell {state} of {self._last}. The exit is on the {self.details[0]}."
        return agentrl.Scene(text, admissible=("left", "right"))

    def transitions(self, state: int, action: str) -> list[Transition[int]]:
        exit_, move = (0 if self.details[0] == "left" else self._last), (1 if action == "right" else -1)
        outcomes = []
        for chance, cell in ((1 - self._slip, state + move), (self._slip, state - move)):
            cell = min(max(cell, 0), self._last)
            for shake in (self._noise, -self._noise):
                outcomes.append(Transition(chance / 2, cell, (cell == exit_) + shake, cell == exit_))
        return outcomes

    def report(self, state: int, action: str, outcome: Transition[int]) -> dict[str, Any]:
        return {"success": outcome.done}

    def expert(self, state: int) -> str:
        return str(self.details[0])
