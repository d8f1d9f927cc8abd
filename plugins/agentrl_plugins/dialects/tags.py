"""Tags: reasoning in `<think>`, then one action in `<action>`."""

from __future__ import annotations

from typing import Annotated

import agentrl
from agentrl import Reading

_OPEN, _CLOSE = "<action>", "</action>"


@agentrl.hookimpl
def register_dialects(register: agentrl.Register) -> None:
    register("tags", Tags)


class Tags:
    """`<think>…</think><action>…</action>`; the first action counts.

    >>> Tags().read("<think>far</think><action>go to shelf 1</action>").action
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
        before, opened, rest = text.partition(
            _OPEN
        )  # no regular expression: it would look for the end from every start
        inside, closed, _ = rest.partition(_CLOSE)
        if not opened or not closed:
            return Reading("", "no <action>…</action> in the completion")
        if self.require_think and not ("<think>" in before and "</think>" in before):
            return Reading("", "no <think>…</think> before the action")
        action = inside.strip()
        return Reading(action, "" if action else "the action is empty")
