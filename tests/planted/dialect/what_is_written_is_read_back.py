"""Reads an action that has brackets of its own up to the first of them."""

from planted_support import Brackets

from agentrl import Reading


class Shallow(Brackets):
    def read(self, text):
        reading = super().read(text)
        return Reading(reading.action.split("]")[0], reading.invalid)


make = Shallow
