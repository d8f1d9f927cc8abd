"""Asynchronous: every task is played `group_size` times, and nobody waits for the slowest."""

from __future__ import annotations

from typing import Annotated

import agentrl
from agentrl import ConfigError, Draw, Group, Play, Player, Speakers, seed_of


@agentrl.hookimpl
def register_collectors(register: agentrl.Register) -> None:
    register("asynchronous", Asynchronous)


class Asynchronous:
    """One group per draw: its task, played `group_size` times from the same start with different seeds."""

    def __init__(
        self, player: Player, *, group_size: Annotated[int, "trajectories per task, where the task asks for none"] = 1
    ) -> None:
        if group_size < 1:
            raise ConfigError(f"collector 'asynchronous': group_size = {group_size}; it must be positive")
        self._player, self._group_size = player, group_size

    async def collect(self, draw: Draw, speakers: Speakers) -> list[Group]:
        """All attempts of all members, in order."""
        key = str(draw.number)
        members = range(draw.copies or self._group_size)
        plays = [Play(draw.task, key, member, seed_of(draw.seed, member)) for member in members]
        return [Group(key, draw.number, tuple(await self._player.play(speakers, plays)))]
