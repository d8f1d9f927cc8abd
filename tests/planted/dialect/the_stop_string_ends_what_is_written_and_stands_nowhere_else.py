"""Writes something after its stop string, which sampling would cut off."""

from planted_support import Brackets


class Chatty(Brackets):
    def write(self, action):
        return super().write(action) + " Done."


make = Chatty
