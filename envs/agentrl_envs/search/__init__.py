"""Search: questions that are answered by searching a corpus over several turns, in the style of Search-R1."""

from collections.abc import Callable

import agentrl


@agentrl.hookimpl
def register_environments(register: Callable[[str, object], None]) -> None:
    register("search", "agentrl_envs.search.world:Search")
