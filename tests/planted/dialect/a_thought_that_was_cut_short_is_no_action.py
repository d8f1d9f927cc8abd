"""Cuts a thought off only where it ends."""

from planted_support import Brackets


class Trusting(Brackets):
    def read(self, text):
        return super().read(text.rpartition("</think>")[2].replace("<think>", ""))


make = Trusting
