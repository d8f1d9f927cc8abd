"""Reads an action the first time only, as one that it has done already."""

from planted_support import Brackets

from agentrl import Reading


class Once(Brackets):
    def __init__(self):
        self.known = {}

    def read(self, text):
        self.known[text] = self.known.get(text, 0) + 1
        reading = super().read(text)
        return Reading("", "said before") if self.known[text] == 2 and len(self.known) > 3 else reading


make = Once
