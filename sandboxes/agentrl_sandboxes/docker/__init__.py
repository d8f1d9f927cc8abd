"""docker: sandboxes in hardened containers, each reached through one stream that stays open."""

import agentrl


@agentrl.hookimpl
def register_sandboxes(register: agentrl.Register) -> None:
    register("docker", "agentrl_sandboxes.docker.provider:Docker")
