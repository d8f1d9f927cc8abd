"""Code: write a program, run it, read the failure, repair it; judged by tests out of its reach."""

from typing import Any

import agentrl


@agentrl.hookimpl
def register_environments(register: Any) -> None:
    register("code", "agentrl_envs.code.world:Code")
