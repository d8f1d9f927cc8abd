"""Compares with the last trajectory of the group."""

import numpy as np

from agentrl import groups


def against_the_last(trajectories):
    advantages = [None] * len(trajectories)
    for members in groups(trajectories).values():
        last = trajectories[members[-1]].episode_return
        for i in members:
            advantages[i] = np.full(len(trajectories[i].turns), trajectories[i].episode_return - last)
    return advantages


def make():
    return against_the_last
