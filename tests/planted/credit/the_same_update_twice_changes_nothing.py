"""Divides by a sum over the update, so that a larger update learns more slowly."""

from planted_support import against_the_mean


class Normalised:
    scope = "update"

    def __call__(self, trajectories):
        advantages = against_the_mean(trajectories)
        total = 1.0 + sum(float((a**2).sum()) for a in advantages)
        return [a / total for a in advantages]


make = Normalised
