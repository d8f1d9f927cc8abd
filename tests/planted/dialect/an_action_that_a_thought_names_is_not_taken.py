"""Takes the first action of a text, wherever it stands."""

from planted_support import Brackets

from agentrl import Reading, after_thought


class Hasty(Brackets):
    def read(self, text):
        if after_thought(text).error:
            return super().read(text)
        start, end = text.find("<a>"), text.find("</a>")
        action = text[start + 3 : end] if 0 <= start < end else ""
        return Reading(action, "" if action.strip() else "no <a>action</a>")


make = Hasty
