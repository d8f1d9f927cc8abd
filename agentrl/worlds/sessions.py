"""What a context is for one trajectory: a session, also where the context is a plain function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

from agentrl.data.types import Message, Turn
from agentrl.errors import PluginError
from agentrl.parts.faults import short
from agentrl.parts.words import Answer, Context, Reading, Session, Speak, Tool

View: TypeAlias = Callable[[str, Sequence[Turn], str, tuple[Message, ...]], tuple[Message, ...]]
"""A context that is a function: (instructions, turns, observation, previous) -> messages."""


def messages_of(turns: Sequence[Turn], observation: str) -> tuple[Message, ...]:
    """What was seen and said, and the present observation: in role `tool` what came of a turn that called one.

    What was said keeps its completion, so that its ids are never made twice.
    """
    messages: list[Message] = []
    role: Literal["user", "tool"] = "user"
    for turn in turns:
        said = turn.completion
        messages += [Message(role, turn.observation), Message("assistant", said.text, completion=said)]
        role = "tool" if turn.info.get("calls") else "user"
    return (*messages, Message(role, observation))


class FunctionSession(Session):
    """The session of a function: its view depends on the turns and on what it returned one turn earlier."""

    instructions = ""
    tools: tuple[Tool, ...] = ()

    def __init__(self, view: View, instructions: str) -> None:
        self._view, self._instructions = view, instructions
        self._previous: tuple[Message, ...] = ()

    def view(self, turns: Sequence[Turn], observation: str) -> tuple[Message, ...] | Speak:
        self._previous = self._view(self._instructions, turns, observation, self._previous)
        return self._previous

    def answer(self, reading: Reading) -> Answer | None:
        return None


def begin_session(
    context: Context | View, *, instructions: str, key: str, seed: int, speaker: str,
    count: Callable[[Sequence[Message]], int], name: str = "the context",
) -> Session:  # fmt: skip
    """The session of one trajectory and speaker. Raises PluginError, naming the context, for something that is none."""
    begin = getattr(context, "begin", None)
    if begin is None:
        if not callable(context):
            raise PluginError(f"{name}: a context is a function or has `begin`; {short(context)} is neither")
        return FunctionSession(context, instructions)
    session: Session = begin(instructions=instructions, key=key, seed=seed, speaker=speaker, count=count)
    if missing := [attribute for attribute in ("view", "answer", "tools") if not hasattr(session, attribute)]:
        raise PluginError(f"{name}: begin gave {short(session)}, which lacks {', '.join(missing)} of agentrl.Session")
    return session
