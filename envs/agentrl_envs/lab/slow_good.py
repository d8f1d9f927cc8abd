"""Slow good: the better action takes longer."""

from __future__ import annotations

import time
from typing import Any

import agentrl
from agentrl_envs.lab.exact import Transition, certain
from agentrl_envs.lab.tabular import TabularWorld, divided, require

JOBS = ("bread", "chairs", "candles", "boots")


@agentrl.hookimpl
def register_environments(register: Any) -> None:
    register("lab_slow_good", SlowGood)


class SlowGood(TabularWorld[tuple[int, int]]):
    """Do each of `rounds` jobs fast, which takes `fast_s` and pays `poor`, or slowly, which takes `slow_s` and pays 1.

    For weights by duration and asynchronous play: in a fixed time fast actions finish more often, and a method that
    learns from whatever has finished is drawn to them. `info["cost"]["seconds"]` is simulated; the world really waits
    `sleep` seconds for each of these. Success is to do no job fast.

    By hand, 2 rounds, `poor` 0.4, uniform play: V = 0.7 before the last job and 1.4 before the first, where Q = 1.7 for
    slow and 1.1 for fast.
    """

    instructions = "Do the jobs well. Commands: fast, slow."
    first = 0, 0

    def __init__(
        self, *, rounds: int = 2, poor: float = 0.4, fast_s: float = 1.0, slow_s: float = 10.0, sleep: float = 0.0
    ) -> None:
        require(1 <= rounds <= 5 and 0 <= poor < 1, f"rounds = {rounds}, poor = {poor}: give 1 to 5, and 0 <= poor < 1")
        require(0 <= fast_s <= slow_s, f"fast_s = {fast_s}, slow_s = {slow_s}: give 0 <= fast_s <= slow_s")
        require(sleep >= 0, f"sleep = {sleep}: give at least 0")
        super().__init__(divided(*[JOBS] * rounds))
        self._rounds, self._poor, self._sleep, self.max_turns = rounds, poor, sleep, 2 * rounds
        self._seconds, self.blocks = {"fast": fast_s, "slow": slow_s}, sleep > 0

    def look(self, state: tuple[int, int]) -> agentrl.Scene:
        if state[0] == self._rounds:
            return agentrl.Scene("All jobs are done.", admissible=())
        text = f"Job {state[0] + 1} of {self._rounds}: {self.details[state[0]]}. {state[1]} were done slowly."
        return agentrl.Scene(text, admissible=("fast", "slow"))

    def transitions(self, state: tuple[int, int], action: str) -> tuple[Transition[tuple[int, int]], ...]:
        (job, slow), good = state, action == "slow"
        return certain((job + 1, slow + good), 1.0 if good else self._poor, job + 1 == self._rounds)

    def report(self, state: tuple[int, int], action: str, outcome: Transition[tuple[int, int]]) -> dict[str, Any]:
        if self._sleep:
            time.sleep(self._sleep * self._seconds[action])
        return {"cost": {"seconds": self._seconds[action]}, "success": outcome.state == (self._rounds, self._rounds)}

    def expert(self, state: tuple[int, int]) -> str:
        return "slow"
