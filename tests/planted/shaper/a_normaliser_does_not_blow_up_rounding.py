"""Divides by a deviation that is 0 only where nothing is rounded."""

import numpy as np


class Whitened:
    scope = "update"

    def __call__(self, trajectories, advantages):
        every = np.array([np.mean(number) for a in advantages for number in a])
        deviation = every.std() or 1.0
        return [[(np.asarray(number) - every.mean()) / deviation for number in a] for a in advantages]


make = Whitened
