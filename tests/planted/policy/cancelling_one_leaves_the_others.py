"""Gives up everybody's turn when one of them is cancelled."""

import asyncio

from planted_support import MODEL

from agentrl import PolicyFault
from agentrl.testing.sample_model import SamplePolicy


class AllOrNobody(SamplePolicy):
    broken = False

    async def act(self, dialogue):
        try:
            completion = await super().act(dialogue)
        except asyncio.CancelledError:
            self.broken = True
            raise
        if self.broken:
            raise PolicyFault("the queue was cancelled")
        return completion


def make():
    return AllOrNobody(MODEL)
