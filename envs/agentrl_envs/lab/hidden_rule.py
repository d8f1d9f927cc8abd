"""Hidden rule: nothing within an episode tells the rule, episodes before it do."""

from __future__ import annotations

import itertools
import random
from typing import Any

import agentrl
from agentrl_envs.lab.exact import Transition, certain
from agentrl_envs.lab.tabular import TabularWorld, divided

MACHINES = ("anvil", "bellows", "crane", "drill", "engine", "furnace", "gantry", "hoist")
COLOURS = ("red", "green", "blue", "white", "black")


@agentrl.hookimpl
def register_environments(register: Any) -> None:
    register("lab_hidden_rule", HiddenRule)


class HiddenRule(TabularWorld[str]):
    """Pull the lever that opens a machine; each machine has a colour of its own, and one pull ends the episode.

    For memories and skills (RetroAgent, SKILL0, H-EPM): the feedback names the right lever, but only a later episode
    with the same machine can use it. Tasks of one machine differ in the wrong levers; `valid` has the machines of
    `train`. A store whose notes are shuffled between machines must gain nothing. Another `rules`, other colours.

    By hand, uniform play (which has no memory): V = 1/3, Q = 1 for the right lever and 0 for the others.
    """

    instructions = "Pull the lever that opens the machine. Name its colour."
    first = "shut"
    max_turns = 2

    def __init__(self, *, rules: int = 0) -> None:
        super().__init__(divided(MACHINES, tuple(itertools.combinations(range(4), 2))))
        draws = [random.Random(f"hidden rule {rules} {machine}").random() for machine in MACHINES]
        self._rule = {name: COLOURS[int(draw * 5)] for name, draw in zip(MACHINES, draws, strict=True)}

    def hidden(self) -> dict[str, Any]:
        return {"solution": self.expert("shut")}

    def look(self, state: str) -> agentrl.Scene:
        (machine, decoys), right = self.details, self.expert(state)
        wrong = [colour for colour in COLOURS if colour != right]
        levers = tuple(colour for colour in COLOURS if colour == right or wrong.index(colour) in decoys)
        actions = levers if state == "shut" else ()
        return agentrl.Scene(f"The {machine} is {state}. Levers: {', '.join(levers)}.", admissible=actions)

    def transitions(self, state: str, action: str) -> tuple[Transition[str], ...]:
        right = action == self.expert(state)
        return certain("open" if right else "stuck", float(right), True)

    def report(self, state: str, action: str, outcome: Transition[str]) -> dict[str, Any]:
        return {"feedback": f"The {self.details[0]} opens with the {self.expert(state)} lever."}

    def expert(self, state: str) -> str:
        return self._rule[self.details[0]]
