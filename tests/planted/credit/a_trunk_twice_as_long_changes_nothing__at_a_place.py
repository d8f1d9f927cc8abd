"""Compares turns at the same place of all trajectories, and counts what branches inherit there once more."""

import numpy as np

from agentrl import groups


def by_index(trajectories):
    advantages = [None] * len(trajectories)
    for members in groups(trajectories).values():
        returns = {}
        for i in members:
            for place in range(len(trajectories[i].turns)):
                returns.setdefault(place, []).append(trajectories[i].episode_return)
        for i in members:
            own = trajectories[i].episode_return
            advantages[i] = np.array([own - np.mean(returns[place]) for place in range(len(trajectories[i].turns))])
    return advantages


def make():
    return by_index
