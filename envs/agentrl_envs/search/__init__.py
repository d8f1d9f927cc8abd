"""Search: questions that are answered by searching a corpus over several turns, in the style of Search-R1."""

from typing import Any

import agentrl


@agentrl.hookimpl
def register_environments(register: Any) -> None:
    register("search", "agentrl_envs.search.world:Search")
