"""Says as much as it likes."""

import dataclasses

from planted_support import MODEL

from agentrl.testing.sample_model import SamplePolicy


class Talks(SamplePolicy):
    async def act(self, dialogue):
        return await super().act(dataclasses.replace(dialogue, max_tokens=None))


def make():
    return Talks(MODEL)
