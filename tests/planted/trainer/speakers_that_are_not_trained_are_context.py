"""Trains whoever speaks."""

import dataclasses

from agentrl.testing.sample_model import SampleModel, SampleTrainer


class Everybody(SampleTrainer):
    async def update(self, batch, advantages):
        speakers = sorted({turn.agent for t in batch.usable for turn in t.turns})
        return await super().update(dataclasses.replace(batch, speakers=tuple(speakers)), advantages)


def make():
    return Everybody(SampleModel())
