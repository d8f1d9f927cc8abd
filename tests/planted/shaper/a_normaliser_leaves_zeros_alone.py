"""Takes the sign, and counts 0 as won."""

import numpy as np


def signs(trajectories, advantages):
    return [[np.where(np.asarray(number) >= 0, 1.0, -1.0) for number in a] for a in advantages]


def make():
    return signs
