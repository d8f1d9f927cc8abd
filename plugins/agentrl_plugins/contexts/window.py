"""Window: the first observation and the last few turns; prompts stay short, and fork once the window moves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import agentrl
from agentrl import Message, Turn
from agentrl_plugins.contexts.full import replied


@agentrl.hookimpl
def register_contexts(register: agentrl.Register) -> None:
    register("window", window)


def window(
    instructions: str,
    turns: Sequence[Turn],
    observation: str,
    previous: tuple[Message, ...],
    *,
    last: Annotated[int, "turns that are shown in full, 0 or more"] = 2,
    system: Annotated[bool, "show the world's instructions; a model trained on this world alone needs none"] = True,
) -> tuple[Message, ...]:
    """The first observation (it names the task), the last turns in full, and the current observation."""
    if last < 0:
        raise agentrl.ConfigError(f"context 'window': last = {last}; allowed are 0, 1, 2, …")
    shown = turns[max(0, len(turns) - last) :]
    observations = [turn.observation for turn in shown] + [observation]
    skipped = len(turns) - len(shown)
    if skipped:
        gap = f"\n\n[{skipped - 1} turns left out]\n\n" if skipped > 1 else "\n\n"
        observations[0] = turns[0].observation + gap + observations[0]
    messages = [Message("system", instructions)] if system and instructions else []
    before = [None, *shown][: len(observations)]  # the first message stands for what was left out: it is the user's
    for seen, past, turn in zip(observations, before, shown, strict=False):
        messages += [
            replied(past, seen) if past is not None else Message("user", seen),
            Message("assistant", turn.completion.text, completion=turn.completion),
        ]
    return (*messages, replied(shown[-1], observations[-1]) if shown else Message("user", observations[-1]))
