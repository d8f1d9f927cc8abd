"""Gives an action along with the reason why there is none."""

from planted_support import Brackets

from agentrl import Reading


class Undecided(Brackets):
    def read(self, text):
        reading = super().read(text)
        return Reading(text[:5], reading.invalid) if reading.invalid else reading


make = Undecided
