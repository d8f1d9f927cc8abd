"""Gives back a column that nobody declared."""

from planted_support import against_the_mean

from agentrl import Credited


def with_novelty(trajectories):
    return Credited(against_the_mean(trajectories), {"novelty": [[0.5] * len(t.turns) for t in trajectories]})


def make():
    return with_novelty
