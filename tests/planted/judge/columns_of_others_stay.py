"""Puts its scores in the place of those of other judges."""


class Greedy:
    async def annotate(self, trajectories):
        for trajectory in trajectories:
            for turn in trajectory.turns[trajectory.inherited :]:
                turn.columns["judged"] = {"length": float(len(turn.completion.text))}


make = Greedy
