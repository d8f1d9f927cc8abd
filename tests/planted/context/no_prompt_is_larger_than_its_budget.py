"""Counts its prompt before it adds what is observed now."""

from planted_support import History


class LateCount(History):
    budget = 500

    def shown(self, turns, observation):
        for first in range(len(turns) + 1):
            messages = super().shown(turns[first:], observation)
            if self.count(messages[:-1]) <= self.budget:
                break
        return messages


make = LateCount
