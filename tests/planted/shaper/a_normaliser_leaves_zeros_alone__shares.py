"""Gives every turn its share of its group, and everybody the same where there is nothing to share."""

import numpy as np

from agentrl import groups


def shares(trajectories, advantages):
    shaped = [None] * len(advantages)
    for members in groups(trajectories).values():
        total = sum(abs(float(np.mean(number))) for i in members for number in advantages[i])
        turns = sum(len(advantages[i]) for i in members)
        for i in members:
            shaped[i] = [np.asarray(n) / total if total else np.full(np.shape(n), 1 / turns) for n in advantages[i]]
    return shaped


def make():
    return shares
