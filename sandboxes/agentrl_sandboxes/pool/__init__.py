"""pool: sandboxes of another machine, offered there by `agentrl sandbox serve`."""

from typing import Any

import agentrl


@agentrl.hookimpl
def register_sandboxes(register: Any) -> None:
    register("pool", "agentrl_sandboxes.pool.provider:Pool")
