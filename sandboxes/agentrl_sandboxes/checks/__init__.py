"""The kit for sandboxes: their contract, and a suite of attempts to escape."""

from typing import Any

import agentrl


@agentrl.hookimpl
def register_kits(register: Any) -> None:
    register("sandbox", "agentrl_sandboxes.checks.kit:check_sandbox")
