"""Household: a text world of rooms, receptacles and chores, faithful to ALFWorld."""

from typing import Any

import agentrl


@agentrl.hookimpl
def register_environments(register: Any) -> None:
    register("household", "agentrl_envs.household.world:Household")
