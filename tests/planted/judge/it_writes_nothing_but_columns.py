"""Sorts the list of trajectories that it was given."""

from planted_support import Lengths


class Sorts(Lengths):
    async def annotate(self, trajectories):
        await super().annotate(trajectories)
        if isinstance(trajectories, list):
            trajectories.reverse()


make = Sorts
