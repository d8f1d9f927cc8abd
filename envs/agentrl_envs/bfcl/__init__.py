"""BFCL multi-turn: the Berkeley function calling leaderboard's tasks, users and exact scoring as a world."""

from collections.abc import Callable

import agentrl


@agentrl.hookimpl
def register_environments(register: Callable[[str, object], None]) -> None:
    register("bfcl", "agentrl_envs.bfcl.world:BFCL")
