"""Looks for the turns of the speaker called `agent`, and expects to find some."""

import numpy as np
from planted_support import against_the_mean


def for_the_agent(trajectories):
    for trajectory in trajectories:
        first = next(i for i, turn in enumerate(trajectory.turns) if turn.agent == "agent")
        assert first >= 0
    return [np.asarray(a) for a in against_the_mean(trajectories)]


def make():
    return for_the_agent
