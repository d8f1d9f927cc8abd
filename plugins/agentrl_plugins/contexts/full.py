"""Full history: the policy sees everything that was said, and each prompt appends to the one before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import agentrl
from agentrl import DataError, Message, Turn


@agentrl.hookimpl
def register_contexts(register: agentrl.Register) -> None:
    register("full", full)


def full(
    instructions: str,
    turns: Sequence[Turn],
    observation: str,
    previous: tuple[Message, ...],
    *,
    system: Annotated[bool, "show the world's instructions; a model trained on this world alone needs none"] = True,
) -> tuple[Message, ...]:
    """All turns so far."""
    if not previous:
        if turns:
            raise DataError("context 'full' was given turns without what it had shown before; replay them one by one")
        head = (Message("system", instructions),) if system and instructions else ()
        return (*head, Message("user", observation))
    last = turns[-1].completion
    return (*previous, Message("assistant", last.text, completion=last), replied(turns[-1], observation))


def replied(turn: Turn, observation: str) -> Message:
    """What came of a turn: the result of a tool where it called one."""
    return Message("tool" if turn.info.get("calls") else "user", observation)
