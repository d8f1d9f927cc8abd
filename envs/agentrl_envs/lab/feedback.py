"""Feedback: a text beside the observation says what was wrong, the observation stays as it was."""

from __future__ import annotations

from typing import Any, Literal

import agentrl
from agentrl_envs.lab.exact import Transition, certain
from agentrl_envs.lab.tabular import TabularWorld, divided, require

TITLES = {"Doctor": "small", "Captain": "large", "Baron": "medium", "Judge": "large"}
NAMES = {"Amber": "black", "Birch": "green", "Coral": "white", "Delta": "green"}
CUPS = tuple(f"{size} {colour}" for size in ("small", "medium", "large") for colour in ("black", "green", "white"))


@agentrl.hookimpl
def register_environments(register: Any) -> None:
    register("lab_feedback", Feedback)


class Feedback(TabularWorld[str]):
    """Serve the tea that a guest likes, in at most `tries` tries; the title decides the size, the name the colour.

    For methods that learn from text (SDPO, arXiv 2601.20802; reflection; repair). After a wrong cup the observation is
    the same as before, and `info["feedback"]` says which part was wrong and what it should be. A context that shows it
    solves any task in two tries; with `feedback_of = "other"`, that of another guest, its gain must be gone. Methods
    that read observations alone have nothing to go by, and exact values are those of such policies.

    By hand, uniform play over 9 cups: V = 1/9 with one try left, 17/81 with two; Q = 1/9 for a wrong cup with two left.
    """

    instructions = "Serve the guest. Say a size and a colour: small, medium or large; black, green or white."
    first = "asked"

    def __init__(self, *, tries: int = 3, feedback_of: Literal["own", "other"] = "own") -> None:
        require(tries >= 1, f"tries = {tries}: give at least 1")
        super().__init__(divided(tuple(TITLES), tuple(NAMES)))
        self.max_turns, self._feedback_of = tries, feedback_of

    def hidden(self) -> dict[str, Any]:
        return {"solution": self.expert("asked")}

    def look(self, state: str) -> agentrl.Scene:
        return agentrl.Scene(" ".join(self.details) + " asks for tea.", admissible=CUPS if state == "asked" else ())

    def transitions(self, state: str, action: str) -> tuple[Transition[str], ...]:
        right = action == self.expert(state)
        return certain("served" if right else "asked", float(right), right)

    def report(self, state: str, action: str, outcome: Transition[str]) -> dict[str, Any]:
        title, name = self.details
        if self._feedback_of == "other":  # the next guest in the lists, who likes another size and another colour
            title, name = (list(each)[list(each).index(it) - 3] for each, it in ((TITLES, title), (NAMES, name)))
        parts = zip(("size", "colour"), (TITLES[title], NAMES[name]), action.split(), strict=True)
        wrong = [f"The {part} should be {liked}." for part, liked, served in parts if liked != served]
        return {} if outcome.done else {"feedback": " ".join(wrong) or "That was not it."}

    def expert(self, state: str) -> str:
        return f"{TITLES[self.details[0]]} {NAMES[self.details[1]]}"
