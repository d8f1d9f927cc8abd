"""Pennies: two speakers, what one wins the other loses."""

from __future__ import annotations

from typing import Any

import agentrl
from agentrl_envs.lab.exact import Transition, certain
from agentrl_envs.lab.tabular import TabularWorld, divided, require

SIDES = ("heads", "tails")


@agentrl.hookimpl
def register_environments(register: Any) -> None:
    register("lab_pennies", Pennies)


class Pennies(TabularWorld[tuple[str, str]]):
    """The `hider` lays a penny heads or tails up, the `matcher` guesses without seeing it.

    For self-play of two speakers: `info["speaker"]` says who speaks next, `info["rewards_by"]` what each is paid. The
    matcher gets 1 for a match (`heads` for two heads) and -1 otherwise, the hider the opposite; the reward of the step,
    and so the exact values, are the matcher's. In equilibrium both take heads with probability 2 / (heads + 3); for 1 a
    fresh table does so, hence a test of learning takes 3. A method that pays both alike teaches them to agree.

    By hand, uniform play: V = 0, and Q = 1 for a right guess, -1 for a wrong one. With `heads` = 3, V = 1/2.
    """

    instructions = "The matcher wins if both sides are the same, the hider otherwise. Commands: heads, tails."
    first = "", ""
    max_turns = 6

    def __init__(self, *, matcher: str = "agent", hider: str = "other", heads: float = 1.0) -> None:
        require(matcher != hider, f"both speakers are named {matcher!r}: give two names")
        require(heads > 0, f"heads = {heads}: give more than 0")
        super().__init__(divided(("cup", "hat", "leaf"), ("dawn", "noon", "dusk")))
        self._matcher, self._hider, self._heads = matcher, hider, heads

    def look(self, state: tuple[str, str]) -> agentrl.Scene:
        (hidden, guess), (cover, hour) = state, self.details
        info: dict[str, Any] = {"rewards_by": {self._matcher: 0.0, self._hider: 0.0}}
        if guess:
            return agentrl.Scene(f"The penny shows {hidden}, the guess was {guess}.", admissible=(), info=info)
        text = f"It is {hour}. Guess the side." if hidden else f"Lay the penny under the {cover}."
        info["speaker"] = self._matcher if hidden else self._hider
        return agentrl.Scene(text, admissible=SIDES, info=info)

    def transitions(self, state: tuple[str, str], action: str) -> tuple[Transition[tuple[str, str]], ...]:
        if not state[0]:
            return certain((action, ""))
        match = self._heads if action == "heads" else 1.0
        return certain((state[0], action), match if action == state[0] else -1.0, True)

    def report(self, state: tuple[str, str], action: str, outcome: Transition[tuple[str, str]]) -> dict[str, Any]:
        by = {"rewards_by": {self._matcher: outcome.reward, self._hider: -outcome.reward}}
        return {"info": by} if outcome.done else {}

    def expert(self, state: tuple[str, str]) -> str:
        return state[0] or "heads"  # the matcher's expert has seen the penny
