"""Does not look at stop strings."""

import dataclasses

from planted_support import MODEL

from agentrl.testing.sample_model import SamplePolicy


class Deaf(SamplePolicy):
    async def act(self, dialogue):
        return await super().act(dataclasses.replace(dialogue, stop=()))


def make():
    return Deaf(MODEL)
