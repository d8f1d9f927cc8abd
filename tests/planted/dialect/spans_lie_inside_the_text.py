"""Says that the action ends one character after the text."""

from planted_support import Brackets

from agentrl import Reading


class OneTooFar(Brackets):
    def read(self, text):
        reading = super().read(text)
        return Reading(reading.action, reading.invalid, (("act", 0, len(text) + 1),))


make = OneTooFar
