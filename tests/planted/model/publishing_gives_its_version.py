"""Hands its weights out under the number that they had before."""

from agentrl import Weights
from agentrl.testing.sample_model import SampleModel


class OneBehind(SampleModel):
    async def publish(self, update, via):
        before = self.version
        weights = await super().publish(update, via)
        return Weights(before, weights.handle)


make = OneBehind
