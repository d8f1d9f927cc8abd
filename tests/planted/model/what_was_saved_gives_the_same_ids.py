"""Numbers its letters by how often a world uses them, and forgets that when it is saved."""

import numpy as np

from agentrl.testing.sample_model import SampleCodec, SampleModel


class ByWorld(SampleCodec):
    def __init__(self, first):
        self.first = first

    def say(self, text, *, stop=()):
        ids = super().say(text, stop=stop)
        return np.where(ids < 256, (ids + self.first) % 256, ids).astype(np.int32)

    def decode(self, ids):
        return super().decode(np.where(ids < 256, (ids - self.first) % 256, ids).astype(np.int32))


class Forgetful(SampleModel):
    def __init__(self, seed=0, first=3):
        super().__init__(seed)
        self.codec = ByWorld(first)


def saved(folder):
    return Forgetful(first=7)  # counted again, in the world of the run that goes on


make = Forgetful
