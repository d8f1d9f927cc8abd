"""Does not say what its credit does."""


def register_credits(register):
    register("wordless", wordless)


def wordless(trajectories):
    return [0 * trajectory.rewards for trajectory in trajectories]
