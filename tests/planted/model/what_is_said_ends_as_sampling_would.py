"""Says the rest of a text after its stop string."""

from agentrl.testing.sample_model import SampleCodec, SampleModel


class GoesOn(SampleCodec):
    def say(self, text, *, stop=()):
        return super().say(text)


class WithMore(SampleModel):
    def __init__(self, seed=0):
        super().__init__(seed)
        self.codec = GoesOn()


make = WithMore
