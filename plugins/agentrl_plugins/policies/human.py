"""Human: a person acts, asked turn by turn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import gymnasium

import agentrl
from agentrl import Info


@agentrl.hookimpl
def register_policies(register: agentrl.Register) -> None:
    register("human", Human)


class Human:
    """Asks `ask(info) -> text` for every action."""

    def __init__(
        self,
        *,
        ask: Annotated[
            Callable[[Info], str] | None, "asks a person for an action; given from Python, `agentrl play` has its own"
        ] = None,
    ) -> None:
        """Raises ConfigError where there is nobody to ask."""
        if ask is None:
            raise agentrl.ConfigError(
                "policy 'human' needs somebody to ask: use `agentrl play`, or give `ask` from Python"
            )
        self._ask = ask

    def act(self, world: gymnasium.Env[str, str], info: Info, seed: int) -> str:
        return self._ask(info)
