"""Writes the values it made into the turns, instead of giving them back."""

from planted_support import against_the_mean


def leaving_traces(trajectories):
    advantages = against_the_mean(trajectories)
    for trajectory, values in zip(trajectories, advantages, strict=True):
        for turn, value in zip(trajectory.turns, values, strict=True):
            turn.columns["value"] = float(value)
    return advantages


def make():
    return leaving_traces
