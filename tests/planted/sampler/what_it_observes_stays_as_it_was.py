"""Notes in the turns how hard their task was."""

from planted_support import InTurn


class Notes(InTurn):
    def observe(self, batch):
        for trajectory in batch.trajectories:
            for turn in trajectory.turns:
                turn.columns["value"] = trajectory.episode_return


make = Notes
