"""Takes silence for an action."""

from planted_support import Brackets

from agentrl import Reading


class Silent(Brackets):
    def read(self, text):
        return super().read(text) if text.strip() else Reading("")


make = Silent
