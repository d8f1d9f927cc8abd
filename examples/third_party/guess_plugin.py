"""A stranger's plugin: a guessing game, and a credit that pays every turn what its trajectory earned above the batch."""

import numpy as np

import agentrl


@agentrl.hookimpl
def register_environments(register):
    register("guess", Guess)


@agentrl.hookimpl
def register_credits(register):
    register("guess/batch", batch_baseline)


class Guess(agentrl.Environment):
    """Find a number from 1 to `top`; the world answers "higher" or "lower"."""

    splits = {"train": 10_000, "valid": 1_000}

    def __init__(self, *, top: int = 20, max_turns: int = 8):
        self.top, self.max_turns = top, max_turns

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        task = self.pick_task(options)
        self.low, self.high, self.turns = 1, self.top, 0
        self.number = 1 + hash((task.split == "train", task.index)) % self.top
        return f"Guess a number from 1 to {self.top}.", {"task": f"{task.split}/{task.index}"} | self._choices()

    def step(self, action):
        self.turns += 1
        if not action.isdecimal():
            return (
                "Please say a number.",
                0.0,
                False,
                self.turns >= self.max_turns,
                self._choices() | {"invalid": "no number"},
            )
        guess = int(action)
        if guess < self.number:
            self.low = max(self.low, guess + 1)
        if guess > self.number:
            self.high = min(self.high, guess - 1)
        found = guess == self.number
        text = "Right!" if found else "Higher." if guess < self.number else "Lower."
        return (
            text,
            float(found),
            found,
            self.turns >= self.max_turns and not found,
            self._choices() | {"success": found},
        )

    def expert_action(self):
        return str((self.low + self.high) // 2)

    def _choices(self):
        return {"admissible": tuple(str(n) for n in range(1, self.top + 1)), "anchor": f"{self.low}..{self.high}"}


def batch_baseline(trajectories, *, scale: float = 1.0):
    """Every turn gets scale · (return − mean return of the batch)."""
    returns = np.array([t.episode_return for t in trajectories])
    return [np.full(len(t.turns), scale * (r - returns.mean())) for t, r in zip(trajectories, returns, strict=True)]
