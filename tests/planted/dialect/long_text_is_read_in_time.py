"""Looks for the end of its mark from every place where one begins."""

import re

from planted_support import Brackets

from agentrl import Reading, after_thought

MARK = re.compile(r"<a>(.*?)</a>", re.DOTALL)


class LooksFromEveryStart(Brackets):
    def read(self, text):
        found = MARK.search(after_thought(text).text)
        action = found[1] if found and found[1].strip() else ""
        return Reading(action, "" if action else "no <a>action</a>")


make = LooksFromEveryStart
