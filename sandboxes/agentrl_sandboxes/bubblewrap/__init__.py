"""bubblewrap: sandboxes of Linux namespaces, made in milliseconds, closed by default."""

from typing import Any

import agentrl


@agentrl.hookimpl
def register_sandboxes(register: Any) -> None:
    register("bubblewrap", "agentrl_sandboxes.bubblewrap.provider:Bubblewrap")
