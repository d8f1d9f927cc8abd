"""Keeps the better half of what it played, and tells nobody of the rest."""

from planted_support import Repeats

from agentrl import Group


class Picky(Repeats):
    async def collect(self, draw, speakers):
        [group] = await super().collect(draw, speakers)
        best = max(trajectory.episode_return for trajectory in group.trajectories)
        kept = [t for t in group.trajectories if t.outcome.failed or t.episode_return == best]
        return [Group(group.key, group.draw, tuple(kept))]


make = Picky
