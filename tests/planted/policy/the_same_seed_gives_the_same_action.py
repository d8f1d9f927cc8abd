"""A demonstrator that does not use the seed that it is given."""

import numpy as np


class Unseeded:
    def act(self, world, info, seed):
        admissible = info.get("admissible") or ("in",)
        return admissible[int(np.random.default_rng().integers(len(admissible)))]


make = Unseeded
