"""Looks at the first turn of every trajectory."""


def on_trajectories(update, trajectories):
    for trajectory in trajectories:
        trajectory.turns[0].observation.strip()
