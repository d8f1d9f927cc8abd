"""Calls a prompt that is too long a fault of the engine, so that the play is thrown away instead of ended."""

from planted_support import MODEL

from agentrl import ContextOverflow, PolicyFault
from agentrl.testing.sample_model import SamplePolicy


class Surprised(SamplePolicy):
    async def act(self, dialogue):
        try:
            return await super().act(dialogue)
        except ContextOverflow as error:
            raise PolicyFault(str(error)) from error


def make():
    return Surprised(MODEL)
