"""Calls: one call of a tool is enough, more are allowed and change nothing."""

from __future__ import annotations

from typing import Any

import agentrl
from agentrl_envs.lab.exact import Transition, certain
from agentrl_envs.lab.tabular import TabularWorld, divided

KEYS = ("amber", "birch", "coral", "delta")
COLOURS = ("red", "green", "blue", "white")


@agentrl.hookimpl
def register_environments(register: Any) -> None:
    register("lab_calls", Calls)


class Calls(TabularWorld[str]):
    """Answer which colour a thing has: look it up first, or guess. Looking up another thing is an error.

    For methods that save calls but not answers (HDPO; strata, arXiv 2510.06214; MatchTIR). `info["calls"]` has all
    calls, `info["hidden"]` the needed one. A penalty on calls inside the reward fails, as it teaches to guess first.

    By hand, uniform play: V = 1/6 with one turn left, 2/9 with two, where Q = 1 for the colour and 1/6 for a look-up.
    """

    instructions = "Answer the question. Look the thing up if need be. Say one of the actions that are offered."
    first = "asked"
    max_turns = 6

    def __init__(self) -> None:
        super().__init__(divided(KEYS, COLOURS))

    def hidden(self) -> dict[str, Any]:
        key, colour = self.details
        return {"calls": [{"name": "lookup", "arguments": {"key": key}}], "solution": colour}

    def look(self, state: str) -> agentrl.Scene:
        key, colour = self.details
        lookups = (f"lookup {key}", f"lookup {KEYS[KEYS.index(key) - 1]}")
        actions = (*lookups, *(f"answer {each}" for each in COLOURS)) if state != "answered" else ()
        text = f"The record says {colour}. Which colour is it?" if state == "seen" else f"Which colour is {key}?"
        return agentrl.Scene(text, admissible=actions)

    def transitions(self, state: str, action: str) -> tuple[Transition[str], ...]:
        key, colour = self.details
        if action.startswith("answer"):
            return certain("answered", float(action == f"answer {colour}"), True)
        return certain("seen" if action == f"lookup {key}" else state)

    def report(self, state: str, action: str, outcome: Transition[str]) -> dict[str, Any]:
        key = action.removeprefix("lookup ")
        error = "" if key == self.details[0] else f"there is no record of {key}"
        calls = [{"name": "lookup", "arguments": {"key": key}, "error": error}]
        return {} if outcome.done else {"calls": calls, "cost": {"calls": 1.0}, "feedback": error}

    def expert(self, state: str) -> str:
        return f"lookup {self.details[0]}" if state == "asked" else f"answer {self.details[1]}"
