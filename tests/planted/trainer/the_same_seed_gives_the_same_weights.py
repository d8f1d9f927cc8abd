"""Adds noise from NumPy's global generator."""

import numpy as np

from agentrl.testing.sample_model import SampleModel, SampleTrainer


class Noisy(SampleTrainer):
    async def update(self, batch, advantages):
        metrics = await super().update(batch, advantages)
        self._table.logits = self._table.logits + 1e-6 * np.random.normal(size=self._table.logits.shape)
        return metrics


def make():
    return Noisy(SampleModel())
