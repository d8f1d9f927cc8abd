"""Cuts the beginning off a prompt and calls the rest the prompt."""

import dataclasses

from planted_support import MODEL

from agentrl.testing.sample_model import SamplePolicy


class Forgetful(SamplePolicy):
    async def act(self, dialogue):
        completion = await super().act(dialogue)
        return dataclasses.replace(completion, prompt_ids=completion.prompt_ids[-10:])


def make():
    return Forgetful(MODEL)
