"""The kit for sandboxes: their contract, and a suite of attempts to escape."""

import agentrl


@agentrl.hookimpl
def register_kits(register: agentrl.Register) -> None:
    register("sandbox", "agentrl_sandboxes.checks.kit:check_sandbox")
