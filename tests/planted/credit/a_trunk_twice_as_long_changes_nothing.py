"""Compares turns at one place, and counts what branches inherit again in each of them."""

import numpy as np

from agentrl import groups


def by_place(trajectories):
    advantages = [None] * len(trajectories)
    for members in groups(trajectories).values():
        returns = {}
        for i in members:
            for turn in trajectories[i].turns:
                returns.setdefault(turn.anchor, []).append(trajectories[i].episode_return)
        for i in members:
            own = trajectories[i].episode_return
            advantages[i] = np.array([own - np.mean(returns[turn.anchor]) for turn in trajectories[i].turns])
    return advantages


def make():
    return by_place
