"""Subtracts the mean of the whole update, and does not say so."""

import numpy as np


def centred(trajectories, advantages):
    mean = np.mean([np.mean(number) for a in advantages for number in a])
    return [[np.asarray(number) - mean for number in a] for a in advantages]


def make():
    return centred
