"""bubblewrap: sandboxes of Linux namespaces, made in milliseconds, closed by default."""

import agentrl


@agentrl.hookimpl
def register_sandboxes(register: agentrl.Register) -> None:
    register("bubblewrap", "agentrl_sandboxes.bubblewrap.provider:Bubblewrap")
