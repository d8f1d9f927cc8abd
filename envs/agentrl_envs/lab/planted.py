"""Planted: expert play with one wrong turn, at a place that is known."""

from __future__ import annotations

from typing import Any, Literal

import agentrl
from agentrl_envs.lab.exact import Transition, certain
from agentrl_envs.lab.tabular import TabularWorld, divided, require

SIDES = ("left", "right")


@agentrl.hookimpl
def register_environments(register: Any) -> None:
    register("lab_planted", Planted)


class Planted(TabularWorld[tuple[int, bool]]):
    """Follow the sign at each of `length` crossings; one wrong turn, and the goal is never reached.

    For methods that find and mend the first wrong turn (repair by differences, contrasts, interventions; Monte Carlo
    values). `info["hidden"]` of the reset holds the `place` of a mistake, what is `wrong` and `right` there, and the
    `actions` of a play with it; with `plays = "planted"` the expert plays those. Later the anchor shows the mistake,
    the observation does not. A credit of one number per episode blames the right turns as well.

    By hand: V of the expert is 1 on the way, 0 off it. Uniform play: V = 1/64 at crossing 1 of 6, 1/2 at the last one.
    """

    instructions = "Follow the signs. Commands: left, right."
    first = 0, True

    def __init__(self, *, length: int = 6, plays: Literal["right", "planted"] = "right") -> None:
        require(3 <= length <= 12, f"length = {length}: give 3 to 12")
        super().__init__(divided(*[SIDES] * length, range(length)))
        self._length, self._plays, self.max_turns = length, plays, length + 4

    def hidden(self) -> dict[str, Any]:
        *signs, place = self.details
        actions = (*signs[:place], _other(signs[place]), *signs[place + 1 :])
        return {"place": place, "wrong": actions[place], "right": signs[place], "actions": actions}

    def look(self, state: tuple[int, bool]) -> agentrl.Scene:
        crossing, right = state
        if crossing == self._length:
            return agentrl.Scene(f"You are {'at' if right else 'far from'} the goal.", admissible=())
        text = f"Crossing {crossing + 1} of {self._length}. The sign says {self.details[crossing]}."
        return agentrl.Scene(text, admissible=SIDES, anchor=text if right else f"{text} You are off the way.")

    def transitions(self, state: tuple[int, bool], action: str) -> tuple[Transition[tuple[int, bool]], ...]:
        right, last = state[1] and action == self.details[state[0]], state[0] + 1 == self._length
        return certain((state[0] + 1, right), float(last and right), last)

    def expert(self, state: tuple[int, bool]) -> str:
        (*signs, place), crossing = self.details, min(state[0], self._length - 1)
        return _other(signs[crossing]) if self._plays == "planted" and crossing == place else str(signs[crossing])


def _other(side: str) -> str:
    return "left" if side == "right" else "right"
