"""Goes on calling its tokens by the update that it was made with."""

import dataclasses

import numpy as np
from planted_support import MODEL

from agentrl.testing.sample_model import SamplePolicy


class OldNumber(SamplePolicy):
    def __init__(self, model):
        super().__init__(model)
        self._first = self.version.update

    async def act(self, dialogue):
        completion = await super().act(dialogue)
        return dataclasses.replace(completion, versions=np.full(len(completion.ids), self._first, np.int32))


def make():
    return OldNumber(MODEL)
