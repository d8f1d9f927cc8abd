"""Leaves out one turn where its prompt is too long, and does not look again."""

from planted_support import History


class LooksOnce(History):
    budget = 500

    def shown(self, turns, observation):
        messages = super().shown(turns, observation)
        return messages if self.count(messages) <= self.budget else super().shown(turns[1:], observation)


make = LooksOnce
