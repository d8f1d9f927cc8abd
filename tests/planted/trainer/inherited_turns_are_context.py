"""Trains the turns that a branch inherits once more."""

import dataclasses

from agentrl import Group
from agentrl.testing.sample_model import SampleModel, SampleTrainer


class Again(SampleTrainer):
    async def update(self, batch, advantages):
        groups = [
            Group(g.key, g.draw, tuple(dataclasses.replace(t, inherited=0) for t in g.trajectories))
            for g in batch.groups
        ]
        return await super().update(dataclasses.replace(batch, groups=tuple(groups)), advantages)


def make():
    return Again(SampleModel())
