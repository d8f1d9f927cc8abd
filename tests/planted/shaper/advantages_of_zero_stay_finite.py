"""Divides by a deviation that may be 0."""

import numpy as np


class Whitened:
    scope = "update"

    def __call__(self, trajectories, advantages):
        every = np.array([np.mean(number) for a in advantages for number in a])
        deviation = every.std() if len(set(every)) > 1 else np.abs(every).max()
        return [[(np.asarray(number) - every.mean()) / deviation for number in a] for a in advantages]


make = Whitened
