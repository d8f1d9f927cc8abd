"""Household: a text world of rooms, receptacles and chores, faithful to ALFWorld."""

from collections.abc import Callable

import agentrl


@agentrl.hookimpl
def register_environments(register: Callable[[str, object], None]) -> None:
    register("household", "agentrl_envs.household.world:Household")
