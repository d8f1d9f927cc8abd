"""Three tasks: an easy one, a hard one, and one that only becomes possible on the way."""

from __future__ import annotations

from typing import Any

import agentrl
from agentrl_envs.lab.exact import Transition, certain
from agentrl_envs.lab.tabular import TabularWorld, require

SIGNS, KINDS, JAMMED = ("circle", "square", "star"), ("easy", "hard", "impossible"), -1


@agentrl.hookimpl
def register_environments(register: Any) -> None:
    register("lab_three_tasks", ThreeTasks)


class ThreeTasks(TabularWorld[int]):
    """Press the signs that a lock shows, one after the other; the first wrong one ends the task.

    For samplers that divide their groups among tasks (MT-GRPO, arXiv 2602.05547; dynamic filtering). Task i is of kind
    i mod 3, which `info["kind"]` names; `easy`, `hard` and `impossible` are numbers of signs. What is learned on the
    first signs of one kind helps in the next. A uniform sampler spends a third of its groups where none succeeds.

    By hand, uniform play: V = 1/9, 1/81 and 1/19683 at the beginning of each kind, and 1/3 at its last sign.
    """

    instructions = "Press the sign that is shown. Commands: circle, square, star."
    first = 0

    def __init__(self, *, easy: int = 2, hard: int = 4, impossible: int = 9) -> None:
        lengths = (easy, hard, impossible)
        require(2 <= easy < hard < impossible <= 12, f"lengths {lengths}: give three that rise, from 2 to 12")
        super().__init__({"train": _locks(lengths, 99, "train"), "valid": _locks(lengths, 33, "valid")})
        self.max_turns = impossible + 3

    def look(self, state: int) -> agentrl.Scene:
        kind, signs = self.details
        if state in (JAMMED, len(signs)):
            return agentrl.Scene(f"The lock is {'jammed' if state == JAMMED else 'open'}.", admissible=())
        return agentrl.Scene(f"Sign {state + 1}: {signs[state]}.", admissible=SIGNS, info={"kind": kind})

    def transitions(self, state: int, action: str) -> tuple[Transition[int], ...]:
        signs = self.details[1]
        opened = state + 1 == len(signs)
        return certain(state + 1, float(opened), opened) if action == signs[state] else certain(JAMMED, 0.0, True)

    def expert(self, state: int) -> str:
        return str(self.details[1][min(state, len(self.details[1]) - 1)])


def _locks(lengths: tuple[int, ...], count: int, split: str) -> list[tuple[str, tuple[str, ...]]]:
    """`count` locks, the kinds in turn; only in `valid` do the numbers of the last two signs add up to 2 modulo 3."""
    locks = []
    for index in range(count):  # 7919 is prime, so that all digits vary from lock to lock
        digits = [index // 3 * 7919 // 3**place % 3 for place in range(lengths[index % 3] - 1)]
        digits.append(((2 if split == "valid" else index % 2) - digits[-1]) % 3)
        locks.append((KINDS[index % 3], tuple(SIGNS[digit] for digit in digits)))
    return locks
