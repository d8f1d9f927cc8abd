"""Plays every member with the seed of the draw, so that all of them do the same."""

import dataclasses

from planted_support import Repeats


class OneSeed(Repeats):
    def play(self, draw, member):
        return dataclasses.replace(super().play(draw, member), seed=draw.seed)


make = OneSeed
