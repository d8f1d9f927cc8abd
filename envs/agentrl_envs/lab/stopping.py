"""Stopping: the policy itself decides how many turns an episode has."""

from __future__ import annotations

from typing import Any

import agentrl
from agentrl_envs.lab.exact import Transition, certain
from agentrl_envs.lab.tabular import TabularWorld, require


@agentrl.hookimpl
def register_environments(register: Any) -> None:
    register("lab_stopping", Stopping)


class Stopping(TabularWorld[int]):
    """Walk along a chain of cells and stop at the peak, which pays 1; stopping before it pays `early`, after it 0.

    For baselines that compare equal turns of a group (turn-level GRPO, TRLOO, arXiv 2602.05885): who stopped early is
    missing there. `exact_gradient` is what an unbiased credit must meet on average. Z-scores, means that include the
    turn itself, and rewards of single turns fail: the last do not see what stopping costs.

    By hand, 5 cells, peak in cell 4, `early` 1/2, uniform play: V = 17/32, 9/16, 5/8, 3/4, 1 from cell 0 on, so in
    cell 3 Q = 1/2 for stopping and 1 for going on.
    """

    instructions = "Stop at the peak. Commands: stop, go on."

    def __init__(self, *, cells: int = 5, early: float = 0.5) -> None:
        require(cells >= 4 and 0 <= early < 1, f"cells = {cells}, early = {early}: give at least 4, and 0 <= early < 1")
        pairs = [(start, peak) for peak in range(cells) for start in range(peak + 1)]
        valid = [(start, peak) for start, peak in pairs if start and (start + peak) % 3 == 0]
        super().__init__({"train": [pair for pair in pairs if pair not in valid], "valid": valid})
        self._cells, self._early, self.max_turns = cells, early, 2 * cells

    def start(self) -> int:
        return int(self.details[0])

    def look(self, state: int) -> agentrl.Scene:
        text = f"You are in cell {state} of {self._cells - 1}. The peak is cell {self.details[1]}."
        return agentrl.Scene(text, admissible=("stop", "go on") if state + 1 < self._cells else ("stop",))

    def transitions(self, state: int, action: str) -> tuple[Transition[int], ...]:
        if action == "go on":
            return certain(state + 1)
        peak = self.details[1]
        return certain(state, self._early if state < peak else float(state == peak), True)

    def report(self, state: int, action: str, outcome: Transition[int]) -> dict[str, Any]:
        return {"success": outcome.done and state == self.details[1]}

    def expert(self, state: int) -> str:
        return "go on" if state < self.details[1] else "stop"
