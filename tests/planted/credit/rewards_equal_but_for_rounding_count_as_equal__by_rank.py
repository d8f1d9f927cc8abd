"""Ranks the returns of a group, and takes equal ones for equal only to the last bit."""

import numpy as np

from agentrl import groups


def ranks(trajectories):
    advantages = [None] * len(trajectories)
    for members in groups(trajectories).values():
        returns = [trajectories[i].episode_return for i in members]
        for i, own in zip(members, returns, strict=True):
            rank = np.mean([np.sign(own - other) for other in returns])
            advantages[i] = np.full(len(trajectories[i].turns), rank)
    return advantages


def make():
    return ranks
