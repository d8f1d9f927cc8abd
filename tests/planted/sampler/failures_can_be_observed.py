"""Averages the returns of every group, also of one whose plays all failed."""

from planted_support import InTurn

from agentrl import trainable


class Averages(InTurn):
    def observe(self, batch):
        for group in batch.groups:
            returns = [t.episode_return for t in trainable(group.trajectories)]
            self.mean = sum(returns) / len(returns)


make = Averages
