"""Gives a turn one value, where the column has one for each of its tokens."""

from planted_support import Lengths


class OneForAll(Lengths):
    async def annotate(self, trajectories):
        await super().annotate(trajectories)
        for trajectory in trajectories:
            for turn in trajectory.turns[trajectory.inherited :]:
                turn.columns.setdefault("value", [0.5, 0.25])


make = OneForAll
