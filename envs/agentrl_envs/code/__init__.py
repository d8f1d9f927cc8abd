"""Code: write a program, run it, read the failure, repair it; judged by tests out of its reach."""

from collections.abc import Callable

import agentrl


@agentrl.hookimpl
def register_environments(register: Callable[[str, object], None]) -> None:
    register("code", "agentrl_envs.code.world:Code")
