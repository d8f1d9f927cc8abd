"""Full history: the policy sees everything that was said, and each prompt appends to the one before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import agentrl
from agentrl import Message, Turn


@agentrl.hookimpl
def register_contexts(register: Any) -> None:
    register("full", full)


def full(
    instructions: str,
    turns: Sequence[Turn],
    observation: str,
    previous: tuple[Message, ...],
    *,
    system: bool = True,
) -> tuple[Message, ...]:
    """All turns so far. `system = false` leaves the world's instructions out (a model trained on this world alone)."""
    if not previous:
        head = (Message("system", instructions),) if system and instructions else ()
        return (*head, Message("user", observation))
    last = turns[-1].completion
    return (*previous, Message("assistant", last.text, completion=last), Message("user", observation))
