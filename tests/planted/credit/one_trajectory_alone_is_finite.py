"""Divides by the number of the others, which may be 0."""

import numpy as np

from agentrl import groups


def against_the_others(trajectories):
    advantages = [None] * len(trajectories)
    for members in groups(trajectories).values():
        returns = np.array([trajectories[i].episode_return for i in members])
        for i, own in zip(members, returns, strict=True):
            others = np.float64(returns.sum() - own) / np.float64(len(members) - 1)
            advantages[i] = np.full(len(trajectories[i].turns), own - others)
    return advantages


def make():
    return against_the_others
