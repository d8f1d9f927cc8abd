"""Keeps the random numbers of a dialogue's first turn for its later ones."""

import dataclasses

from planted_support import MODEL

from agentrl.testing.sample_model import SamplePolicy


class KeepsItsLuck(SamplePolicy):
    def __init__(self, model):
        super().__init__(model)
        self._seeds = {}

    async def act(self, dialogue):
        return await super().act(
            dataclasses.replace(dialogue, seed=self._seeds.setdefault(dialogue.key, dialogue.seed))
        )


def make():
    return KeepsItsLuck(MODEL)
