"""Weighs turns by the exponential of their return."""

import numpy as np

from agentrl import groups


def softmax(trajectories):
    advantages = [None] * len(trajectories)
    for members in groups(trajectories).values():
        with np.errstate(over="ignore", invalid="ignore"):
            worth = np.exp([trajectories[i].episode_return for i in members])
            shares = worth / worth.sum()
        for i, share in zip(members, shares, strict=True):
            advantages[i] = np.full(len(trajectories[i].turns), share - 1 / len(members))
    return advantages


def make():
    return softmax
