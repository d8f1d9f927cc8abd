"""Counts the tokens of a prompt and shows everything all the same."""

from planted_support import History


class Careless(History):
    def shown(self, turns, observation):
        messages = super().shown(turns, observation)
        if self.count(messages) > 100:
            messages = messages[:1] + messages[1:]
        return messages


make = Careless
