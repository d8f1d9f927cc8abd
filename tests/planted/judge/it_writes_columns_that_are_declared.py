"""Writes a column that nobody declared."""


class Inventive:
    async def annotate(self, trajectories):
        for trajectory in trajectories:
            for turn in trajectory.turns[trajectory.inherited :]:
                turn.columns["politeness"] = 0.5


make = Inventive
