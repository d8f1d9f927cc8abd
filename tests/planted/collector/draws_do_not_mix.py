"""Counts its plays over all draws, and takes their seeds from that."""

import dataclasses

from planted_support import Repeats

from agentrl import seed_of


class Counts(Repeats):
    count = 0

    def play(self, draw, member):
        self.count += 1
        return dataclasses.replace(super().play(draw, member), seed=seed_of(draw.seed, self.count))


make = Counts
