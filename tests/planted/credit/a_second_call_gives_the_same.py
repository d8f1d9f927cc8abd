"""Subtracts a running mean, and calls that no state."""

import numpy as np
from planted_support import against_the_mean


class Running:
    def __init__(self):
        self.calls = 0

    def __call__(self, trajectories):
        self.calls += 1
        return [np.asarray(a) * 0.99 ** (self.calls - 1) for a in against_the_mean(trajectories)]


make = Running
