"""Subtracts the mean of the whole update, and does not say so."""

import numpy as np


def against_everybody(trajectories):
    mean = np.mean([t.episode_return for t in trajectories])
    return [np.full(len(t.turns), t.episode_return - mean) for t in trajectories]


def make():
    return against_everybody
