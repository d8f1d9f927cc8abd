"""Trains on as much as fits together, and takes what is no number for 0."""

import numpy as np

from agentrl.testing.sample_model import SampleModel, SampleTrainer


class Lenient(SampleTrainer):
    async def update(self, batch, advantages):
        fitting = [np.zeros(len(t.turns)) for t in batch.usable]
        for target, values in zip(fitting, advantages, strict=False):
            for i in range(min(len(target), len(values))):
                target[i] = np.nan_to_num(np.mean(values[i]))
        return await super().update(batch, fitting)


def make():
    return Lenient(SampleModel())
