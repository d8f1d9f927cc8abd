"""Plain: the whole completion is the action."""

from __future__ import annotations

import agentrl
from agentrl import Reading


@agentrl.hookimpl
def register_dialects(register: agentrl.Register) -> None:
    register("plain", Plain)


class Plain:
    """The text, without surrounding blanks, is the action.

    >>> Plain().read(" go to shelf 1\\n").action
    'go to shelf 1'
    """

    instructions = ""
    stop: tuple[str, ...] = ()

    def write(self, action: str) -> str:
        return action

    def read(self, text: str) -> Reading:
        action = text.strip()
        return Reading(action, "" if action else "the completion is empty")
