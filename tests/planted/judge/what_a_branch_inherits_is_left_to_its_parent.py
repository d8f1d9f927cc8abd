"""Judges the turns of a parent again in every branch."""


class Thorough:
    async def annotate(self, trajectories):
        for trajectory in trajectories:
            for turn in trajectory.turns:
                known = turn.columns.get("judged") or {}
                turn.columns["judged"] = {**known, "length": float(len(turn.completion.text))}


make = Thorough
