"""Gives up the whole run where every play of one draw failed."""

from planted_support import Repeats

from agentrl import EnvironmentFault


class GivesUp(Repeats):
    async def collect(self, draw, speakers):
        groups = await super().collect(draw, speakers)
        if all(trajectory.outcome.failed for trajectory in groups[0].trajectories):
            raise EnvironmentFault("nothing could be played")
        return groups


make = GivesUp
