"""WebShop: buy what an instruction asks for in a shop of text pages, faithful to WebShop (Yao et al. 2022)."""

from typing import Any

import agentrl


@agentrl.hookimpl
def register_environments(register: Any) -> None:
    register("webshop", "agentrl_envs.webshop.world:WebShop")
