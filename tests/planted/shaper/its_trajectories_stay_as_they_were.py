"""Keeps what it was given in the turns."""

from planted_support import halved


def keeping(trajectories, advantages):
    for trajectory, values in zip(trajectories, advantages, strict=True):
        for turn in trajectory.turns:
            turn.columns["value"] = float(len(values))
    return halved(trajectories, advantages)


def make():
    return keeping
