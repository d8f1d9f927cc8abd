"""Plain: the whole completion is the action, save for a thought before it."""

from __future__ import annotations

import re
from collections.abc import Iterator

import agentrl
from agentrl import Reading, after_thought

# What is no thought's mark: those in a block of code, and those inside a line, unless the text begins with one.
_WORDS = re.compile(r"```.*?(?:```|\Z)|<think>|(?<!\n)(?<!\A)</think>(?!\s*(?:\n|\Z))", re.DOTALL)


@agentrl.hookimpl
def register_dialects(register: agentrl.Register) -> None:
    register("plain", Plain)


class Plain:
    """The text, without surrounding blanks, is the action; a thought before it is left out.

    >>> Plain().read(" go to shelf 1\\n").action
    'go to shelf 1'
    >>> Plain().read("<think>\\nIt is dark.\\n</think>\\n\\ngo to shelf 1").action
    'go to shelf 1'
    """

    instructions = ""
    stop: tuple[str, ...] = ()

    def write(self, action: str) -> str:
        return action if after_thought(action, _words).text == action else f"<think></think>{action}"

    def read(self, text: str) -> Reading:
        spoken = after_thought(text, _words)
        if spoken.error:
            return Reading("", spoken.error)
        action = spoken.text.strip()
        empty = "nothing is said after the thought" if spoken.thought else "the completion is empty"
        return Reading(action, "" if action else empty)


def _words(text: str) -> Iterator[tuple[int, int]]:
    return (found.span() for found in _WORDS.finditer(text))
