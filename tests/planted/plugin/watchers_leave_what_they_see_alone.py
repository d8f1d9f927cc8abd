"""Notes in the turns that it has seen them."""


def on_trajectories(update, trajectories):
    for trajectory in trajectories:
        for turn in trajectory.turns:
            turn.columns["value"] = 1.0
