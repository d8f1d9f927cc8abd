"""Said: what was only thought is lost, what was said comes back."""

from __future__ import annotations

from typing import Any

import agentrl
from agentrl_envs.lab.exact import Transition, certain
from agentrl_envs.lab.tabular import TabularWorld, divided

WORDS = ("amber", "birch", "coral", "delta")


@agentrl.hookimpl
def register_environments(register: Any) -> None:
    register("lab_said", Said)


class Said(TabularWorld[tuple[int, str]]):
    """A code is shown in the second turn, once. Some turns later it is asked for; only what was said is shown again.

    For methods that make a policy commit itself in words (CERL and its erasure protocol, arXiv 2606.05201). A window
    loses the code, as it is not in the first observation. A policy that carries it in its thoughts is at chance once
    they are erased, so a method fails that rewards only the branch where they are kept. Exact values are those of
    policies that see the present observation alone.

    By hand, uniform play: V = 1/4 everywhere, and at the question Q = 1 for the code. A policy that answers with what
    was said, and guesses if nothing was: at the code Q = 1 for saying it, 1/4 for nothing, 0 for another word.
    """

    instructions = "Remember the code. Say one of the actions that are offered."
    first = 0, "nothing"

    def __init__(self) -> None:
        super().__init__(divided(WORDS, (2, 3, 4, 5)))
        self.max_turns = 16

    def look(self, state: tuple[int, str]) -> agentrl.Scene:
        (turn, word), (code, waits) = state, self.details
        if turn == 0:
            return agentrl.Scene(
                "A code will be shown once. What you say will come back to you.", admissible=("ready",)
            )
        if turn == 1:
            sayings = tuple(f"say {each}" for each in (*WORDS, "nothing"))
            return agentrl.Scene(f"The code is {code}.", admissible=sayings)
        if turn < 2 + waits:
            return agentrl.Scene(f"You said {word}. {2 + waits - turn} turns to go.", admissible=("wait",))
        answers = tuple(f"answer {each}" for each in WORDS) if turn == 2 + waits else ()
        return agentrl.Scene(f"You said {word}. What was the code?", admissible=answers)

    def transitions(self, state: tuple[int, str], action: str) -> tuple[Transition[tuple[int, str]], ...]:
        (turn, word), (code, waits) = state, self.details
        word = action.removeprefix("say ") if turn == 1 else word
        return certain((turn + 1, word), float(action == f"answer {code}"), turn == 2 + waits)

    def expert(self, state: tuple[int, str]) -> str:
        code, waits = self.details
        return "wait" if 2 <= state[0] < 2 + waits else {0: "ready", 1: f"say {code}"}.get(state[0], f"answer {code}")
