"""Draws the tokens of all dialogues from one generator, so that they depend on who else is there."""

import dataclasses

from planted_support import MODEL

from agentrl.testing.sample_model import SamplePolicy


class OneGenerator(SamplePolicy):
    running = 0

    async def act(self, dialogue):
        self.running += 1
        try:
            crowded = dataclasses.replace(dialogue, seed=dialogue.seed + self.running - 1)
            return await super().act(crowded)
        finally:
            self.running -= 1


def make():
    return OneGenerator(MODEL)
