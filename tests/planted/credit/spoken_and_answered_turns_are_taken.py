"""Looks up what every action is worth, and finds nothing for turns in which the policy only spoke."""

from planted_support import against_the_mean

WORTH = {"act": 1.0}


def by_kind(trajectories):
    advantages = against_the_mean(trajectories)
    return [
        [WORTH[turn.kind] * a for turn, a in zip(t.turns, values, strict=True)]
        for t, values in zip(trajectories, advantages, strict=True)
    ]


def make():
    return by_kind
