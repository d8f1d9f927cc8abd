"""Counts its updates in the version of the model."""

import dataclasses

from agentrl.testing.sample_model import SampleModel, SampleTrainer


class Counts(SampleTrainer):
    async def update(self, batch, advantages):
        metrics = await super().update(batch, advantages)
        self.model.version = dataclasses.replace(self.model.version, update=self.model.version.update + 1)
        return metrics


def make():
    return Counts(SampleModel())
