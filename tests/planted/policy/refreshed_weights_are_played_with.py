"""Takes over the version of new weights, and not the weights."""

from planted_support import MODEL

from agentrl.testing.sample_model import SamplePolicy


class NameOnly(SamplePolicy):
    async def refresh(self, weights):
        self.version = weights.version


def make():
    return NameOnly(MODEL)
