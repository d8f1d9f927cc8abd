"""Human: a person acts, asked turn by turn."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import agentrl
from agentrl import Completion, Dialogue
from agentrl_plugins.policies.scripted import Scripted


@agentrl.hookimpl
def register_policies(register: Any) -> None:
    register("human", Human)


class Human(Scripted):
    """Asks `ask(dialogue) -> text` in a thread, so that other trajectories go on meanwhile."""

    def __init__(self, dialect: Any, ask: Callable[[Dialogue], str]) -> None:
        super().__init__(dialect)
        self._ask = ask

    async def act(self, dialogue: Dialogue) -> Completion:
        action = await asyncio.to_thread(self._ask, dialogue)
        return Completion(self._dialect.write(action))
