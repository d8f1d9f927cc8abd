"""BFCL multi-turn: the Berkeley function calling leaderboard's tasks, users and exact scoring as a world."""

from typing import Any

import agentrl


@agentrl.hookimpl
def register_environments(register: Any) -> None:
    register("bfcl", "agentrl_envs.bfcl.world:BFCL")
