"""Says that every prompt appends, also where the history was rewritten."""

import dataclasses

from agentrl.testing.sample_model import SampleCodec, SampleModel


class Hopeful(SampleCodec):
    def prompt(self, messages, *, tools=(), after=None):
        prompt = super().prompt(messages, tools=tools, after=after)
        if after is None:
            return prompt
        return dataclasses.replace(prompt, relation="append", kept=len(after.prompt_ids) + len(after.ids))


class WithHope(SampleModel):
    def __init__(self, seed=0):
        super().__init__(seed)
        self.codec = Hopeful()


make = WithHope
