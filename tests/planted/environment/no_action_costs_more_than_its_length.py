"""Reads `name[argument]` with a regular expression that tries every bracket."""

import re

from agentrl.testing.samples import Stairs

CALL = re.compile(r"(.+)\[(.+)\]")


class TriesEveryBracket(Stairs):
    def act(self, action):
        CALL.fullmatch(action)
        return super().act(action)


make = TriesEveryBracket
