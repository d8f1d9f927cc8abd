"""docker: sandboxes in hardened containers, each reached through one stream that stays open."""

from typing import Any

import agentrl


@agentrl.hookimpl
def register_sandboxes(register: Any) -> None:
    register("docker", "agentrl_sandboxes.docker.provider:Docker")
