"""Tools: the desk of a library, where an agent helps visitors by calling tools and talking to them."""

from typing import Any

import agentrl


@agentrl.hookimpl
def register_environments(register: Any) -> None:
    register("tools", "agentrl_envs.tools.world:LibraryDesk")
