"""Tags: reasoning in `<think>`, then one action in `<action>`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated

import agentrl
from agentrl import Reading, after_thought

_OPEN, _CLOSE = "<action>", "</action>"
_NEXT = re.compile("<action>|<think>")


@agentrl.hookimpl
def register_dialects(register: agentrl.Register) -> None:
    register("tags", Tags)


class Tags:
    """`<think>…</think><action>…</action>`; the first action after the thought counts.

    Where the chat template opened the thought in the prompt, `</think>` alone ends it.

    >>> Tags().read("<think>far</think><action>go to shelf 1</action>").action
    'go to shelf 1'
    >>> Tags().read("Not <action>go to shelf 2</action>.</think><action>go to shelf 1</action>").action
    'go to shelf 1'
    >>> Tags().read("go to shelf 1").invalid
    'no <action>…</action> in the completion'
    """

    stop: tuple[str, ...] = (_CLOSE,)

    def __init__(
        self, *, require_think: Annotated[bool, "refuse an action without reasoning before it"] = True
    ) -> None:
        self.require_think = require_think
        think = "First reason inside <think> </think>, then give" if require_think else "Give"
        self.instructions = f"{think} exactly one action inside <action> </action>."

    def write(self, action: str) -> str:
        return f"{'<think></think>' if self.require_think else ''}<action>{action}</action>"

    def read(self, text: str) -> Reading:
        spoken = after_thought(text, _actions)
        if spoken.error:
            return Reading("", spoken.error)
        found = next(_actions(spoken.text), None)
        if found is None:
            after = " after the thought" if spoken.thought else ""
            return Reading("", f"no <action>…</action> in the completion{after}")
        if self.require_think and not spoken.thought:
            return Reading("", "no <think>…</think> before the action")
        action = spoken.text[found[0] + len(_OPEN) : found[1] - len(_CLOSE)].strip()
        return Reading(action, "" if action else "the action is empty")


def _actions(text: str) -> Iterator[tuple[int, int]]:
    """Where actions stand, outside of thoughts."""
    at = 0
    while found := _NEXT.search(text, at):  # no pattern of the whole: it would look for the end from every start
        end = text.find(_CLOSE if found[0] == _OPEN else "</think>", found.end())
        if end < 0:
            return
        at = end
        if found[0] == _OPEN:
            at = end + len(_CLOSE)
            yield found.start(), at
