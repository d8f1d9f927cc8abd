"""Orders its letters by Python's hash of a word, which each process salts anew."""

import numpy as np

from agentrl.testing.sample_model import SampleCodec, SampleModel

ORDER = np.random.default_rng(abs(hash("salt"))).permutation(256)
BACK = np.argsort(ORDER)


class Salted(SampleCodec):
    def say(self, text, *, stop=()):
        return changed(super().say(text, stop=stop), ORDER)

    def decode(self, ids):
        return super().decode(changed(ids, BACK))


def changed(ids, table):
    return np.where(ids < 256, table[np.minimum(ids, 255)], ids).astype(np.int32)


class WithSalt(SampleModel):
    def __init__(self, seed=0):
        super().__init__(seed)
        self.codec = Salted()


make = WithSalt
