"""Looks for the end of everything that begins."""

from planted_support import Brackets


class Trusting(Brackets):
    def read(self, text):
        if text.startswith("<a>") and len(text) < 2_000:
            text.index("</a>")
        return super().read(text)


make = Trusting
