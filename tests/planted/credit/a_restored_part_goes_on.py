"""Saves how much it has seen, and not what."""

import numpy as np
from planted_support import against_the_mean


class Learns:
    scope = "run"

    def __init__(self):
        self.batches, self.mean = 0, 0.0

    def __call__(self, trajectories):
        return [np.asarray(a) - self.mean for a in against_the_mean(trajectories)]

    def observe(self, batch):
        self.batches += 1
        self.mean = float(np.mean([t.episode_return for t in batch.trajectories]))

    def state(self):
        return {"batches": self.batches}

    def restore(self, state):
        self.batches = state["batches"]


make = Learns
