"""Refuses two actions, though one of them was only thought of."""

from planted_support import Brackets

from agentrl import Reading


class Strict(Brackets):
    def read(self, text):
        return Reading("", "more than one action") if text.count("<a>") == 2 else super().read(text)


make = Strict
