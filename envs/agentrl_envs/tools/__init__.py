"""Tools: the desk of a library, where an agent helps visitors by calling tools and talking to them."""

from collections.abc import Callable

import agentrl


@agentrl.hookimpl
def register_environments(register: Callable[[str, object], None]) -> None:
    register("tools", "agentrl_envs.tools.world:LibraryDesk")
