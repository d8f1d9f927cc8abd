"""pool: sandboxes of another machine, offered there by `agentrl sandbox serve`."""

import agentrl


@agentrl.hookimpl
def register_sandboxes(register: agentrl.Register) -> None:
    register("pool", "agentrl_sandboxes.pool.provider:Pool")
