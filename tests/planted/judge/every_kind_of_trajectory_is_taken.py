"""Compares with the first trajectory, and expects one."""

from planted_support import Lengths


class Compares(Lengths):
    async def annotate(self, trajectories):
        assert trajectories[0].turns
        await super().annotate(trajectories)


make = Compares
