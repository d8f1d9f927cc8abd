"""A stranger's plugin: a guessing game, and a credit that pays late turns more."""

import numpy as np

import agentrl


@agentrl.hookimpl
def register_environments(register):
    register("guess", Guess)


@agentrl.hookimpl
def register_credits(register):
    register("guess/late", late)


class Guess(agentrl.TextWorld):
    """Find a number from 1 to `top`; the world says where it can still be. Multiples of 4 are kept for `valid`."""

    success_above = 0.0

    def __init__(self, *, top: int = 20, max_turns: int = 8):
        self.top, self.max_turns = top, max_turns
        self.splits = {"train": top - top // 4, "valid": top // 4}

    def begin(self, task):
        numbers = [n for n in range(1, self.top + 1) if (n % 4 == 0) == (task.split == "valid")]
        self.low, self.high, self.number = 1, self.top, numbers[task.index]
        return self.scene_of(f"Guess a number from 1 to {self.top}.")

    def act(self, action):
        if not action.isdecimal() or len(action) > 9:
            return self.scene_of("Please say a number.", invalid="no number")
        guess, found = int(action), int(action) == self.number
        if guess < self.number:
            self.low = max(self.low, guess + 1)
        if guess > self.number:
            self.high = min(self.high, guess - 1)
        return self.scene_of("Right!" if found else f"No: it is from {self.low} to {self.high}.", found)

    def content(self):
        return f"find {self.number}"

    def expert_action(self):
        return str((self.low + self.high) // 2)

    def scene_of(self, text, found=False, invalid=""):
        numbers = tuple(str(n) for n in range(1, self.top + 1))
        anchor = f"{self.low}..{self.high}"
        return agentrl.Scene(text, found, done=found, admissible=numbers, invalid=invalid, anchor=anchor)


def late(trajectories, *, scale: float = 1.0):
    """Return minus the mean of the group, and more of it the later the turn: t / T of `scale` at turn t of T."""
    advantages = [np.empty(0)] * len(trajectories)
    for members in agentrl.groups(trajectories).values():
        mean = np.mean([trajectories[i].episode_return for i in members])
        for i in members:
            turns = len(trajectories[i].turns)
            advantages[i] = scale * (trajectories[i].episode_return - mean) * np.arange(1, turns + 1) / turns
    return advantages
