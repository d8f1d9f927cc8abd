"""Writes into the turns which of them it has shown."""

from planted_support import History


class Marks(History):
    def shown(self, turns, observation):
        for turn in turns:
            turn.columns["value"] = 1.0
        return super().shown(turns, observation)


make = Marks
