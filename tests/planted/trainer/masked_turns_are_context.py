"""Trains what the mask takes out."""

import dataclasses

from agentrl import Group
from agentrl.testing.sample_model import SampleModel, SampleTrainer


def without_masks(trajectory):
    return dataclasses.replace(trajectory, turns=tuple(dataclasses.replace(t, columns={}) for t in trajectory.turns))


class Unmasked(SampleTrainer):
    async def update(self, batch, advantages):
        groups = [Group(g.key, g.draw, tuple(map(without_masks, g.trajectories))) for g in batch.groups]
        return await super().update(dataclasses.replace(batch, groups=tuple(groups)), advantages)


def make():
    return Unmasked(SampleModel())
