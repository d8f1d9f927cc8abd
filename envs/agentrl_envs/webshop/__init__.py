"""WebShop: buy what an instruction asks for in a shop of text pages, faithful to WebShop (Yao et al. 2022)."""

from collections.abc import Callable

import agentrl


@agentrl.hookimpl
def register_environments(register: Callable[[str, object], None]) -> None:
    register("webshop", "agentrl_envs.webshop.world:WebShop")
