"""Takes every trajectory of the batch for one that may be trained on."""

import dataclasses

from agentrl import Group, Outcome
from agentrl.testing.sample_model import SampleModel, SampleTrainer


class Forgiving(SampleTrainer):
    async def update(self, batch, advantages):
        groups = [
            Group(g.key, g.draw, tuple(dataclasses.replace(t, outcome=Outcome.TERMINATED) for t in g.trajectories))
            for g in batch.groups
        ]
        missing = len(batch.trajectories) - len(batch.usable)
        ones = [[1.0] * len(t.turns) for t in batch.trajectories[:missing]]
        return await super().update(dataclasses.replace(batch, groups=tuple(groups)), [*ones, *advantages])


def make():
    return Forgiving(SampleModel())
