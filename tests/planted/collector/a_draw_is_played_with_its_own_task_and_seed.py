"""Plays every draw with the same seeds."""

import dataclasses

from planted_support import Repeats

from agentrl import seed_of


class SameSeeds(Repeats):
    def play(self, draw, member):
        return dataclasses.replace(super().play(draw, member), seed=seed_of(0, member))


make = SameSeeds
