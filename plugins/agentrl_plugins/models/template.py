"""A chat template, and what probes show of it: roles it knows, whether it looks back, what it does with thoughts."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import jinja2

from agentrl import ConfigError, Message, Tool

MARKS = "\U000f8f00\U000f8f01\U000f8f02\U000f8f03"  # private use: no text should hold them
# What templates are known to treat specially inside a message: blanks at the ends, line breaks, thoughts, nothing.
_PROBES = ("a b", " lead", "trail \n", "\n\nlines\n", "<think>\nx\n</think>\n\ny", "", "{{ x }}", "é")
_TOOL: Tool = {
    "type": "function",
    "function": {"name": "probe_tool", "description": "A tool.", "parameters": {"type": "object", "properties": {}}},
}
Rendered = Sequence[dict[str, object]]


@dataclass(frozen=True)
class Seam:
    """The text around a user's reply, from the end of what the assistant said to where it speaks again."""

    head: str
    tail: str

    def between(self, content: str) -> str:
        return f"{self.head}{content}{self.tail}"


class Template:
    """The chat template of a tokenizer, probed once."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.opening, self.gap = self._opening()
        self.closing = self._closing()
        self.alternates = not self._renders([("user", "q"), ("user", "r")], "r")
        self.roles = frozenset(self._roles())
        seam = _seam(self.render, "user")
        self.seams = {"user": seam, "tool": _seam(self.render, "tool") if "tool" in self.roles else seam}
        """Role of a reply → the constant text around it; None where the template looks back or rewrites."""
        self.tools = "probe_tool" in self._tried(_talk(["q"]), [_TOOL])
        self.thoughts = self._thoughts()

    def render(self, messages: Rendered, tools: Sequence[Tool] = (), prompt: bool = True) -> str:
        """The text of messages. Raises ConfigError where the template refuses them."""
        try:
            text: str = self._tokenizer.apply_chat_template(
                list(messages), tools=list(tools) or None, tokenize=False, add_generation_prompt=prompt
            )
        except (jinja2.TemplateError, TypeError) as error:
            roles = ", ".join(str(message["role"]) for message in messages)
            raise ConfigError(
                f"the chat template of this model cannot write messages with the roles {roles}: {error}"
            ) from error
        return text

    def adapted(self, messages: Sequence[Message], tools: Sequence[Tool]) -> tuple[list[Message], Sequence[Tool]]:
        """Messages in the roles that the template knows, and the tools it can write.

        Tool results become the user's where there is no role `tool`; instructions, and tools that the template would
        not write, go to the front of the first message of the user where there is no role `system`; neighbours of one
        role are joined where the template demands that roles alternate.
        """
        shown = list(messages)
        if tools and not self.tools:
            shown = _instructed(shown, "You can call these tools:\n" + "\n".join(map(json.dumps, tools)))
            tools = ()
        if "tool" not in self.roles:
            shown = [replace(m, role="user") if m.role == "tool" else m for m in shown]
        if "system" not in self.roles and any(m.role == "system" for m in shown):
            shown = _folded(shown)
        return (_alternating(shown) if self.alternates else shown), tools

    def before(self, text: str, content: str) -> str | None:
        """The text in front of a sampled message, exactly as it was prompted; None where its words were changed."""
        kept = content if text.endswith(content) else content.lstrip()
        if not text.endswith(kept):
            return None
        text = text[: len(text) - len(kept)]
        bare = text.rstrip()
        # Templates may write blanks between header and message that were not there when the message was sampled.
        if self.opening.strip() and bare.endswith(self.opening.rstrip()):
            return bare[: len(bare) - len(self.opening.rstrip())] + self.opening
        return text.removesuffix(self.gap)

    def _opening(self) -> tuple[str, str]:
        """What the template writes where the assistant is to speak, and the blanks it later puts before what was said."""
        asked, bare = self.render(_talk(["q"])), self.render(_talk(["q"]), prompt=False)
        try:
            told = self.render(_talk(["q", MARKS[0], "r"])).partition(MARKS[0])[0]
        except ConfigError:  # a template that knows one exchange only
            told = asked
        gap = told[len(asked) :] if told.startswith(asked) else ""
        return asked[len(bare) :] if asked.startswith(bare) else "", gap if not gap.strip() else ""

    def _closing(self) -> str:
        """The text after an answer that is over; empty where there is only what stands before every reply."""
        before, _, rest = self._tried(_talk([MARKS[1], f"a{MARKS[0]}", MARKS[1]])).partition(MARKS[1])
        closing = rest.partition(MARKS[0])[2].partition(MARKS[1])[0]
        bos = str(getattr(self._tokenizer, "bos_token", None) or "")
        return "" if before.removeprefix(bos) == closing else closing

    def _roles(self) -> list[str]:
        known = ["user", "assistant"]
        if self._renders([("system", "rules of play"), ("user", "q")], "rules of play"):
            known.append("system")
        if self._renders([("user", "q"), ("assistant", "a"), ("tool", "result of a tool")], "result of a tool"):
            known.append("tool")
        return known

    def _thoughts(self) -> Literal["none", "kept", "dropped"]:
        """What becomes of thoughts in old answers; "none" where the template does not speak of thoughts."""
        if "think" not in str(self._tokenizer.chat_template):
            return "none"
        talk = _talk(["q", "<think>\nponder\n</think>\n\nanswer", "r"])
        return "kept" if "ponder" in self._tried(talk) else "dropped"

    def _renders(self, talk: Sequence[tuple[str, str]], words: str) -> bool:
        return words in self._tried([{"role": role, "content": content} for role, content in talk])

    def _tried(self, messages: Rendered, tools: Sequence[Tool] = ()) -> str:
        """The text of messages; empty where the template refuses them."""
        try:
            return self.render(messages, tools)
        except ConfigError:
            return ""


def is_sampled(message: Message) -> bool:
    """Whether a message still is what was sampled, so that its ids can stand in a prompt."""
    said = message.completion
    return said is not None and len(said.ids) > 0 and said.text == message.content


def mapped(message: Message, mark: str = "") -> dict[str, object]:
    """A message as templates take it, a sampled one with `mark` behind it."""
    sampled = is_sampled(message)
    entry: dict[str, object] = {"role": message.role, "content": message.content + (mark if sampled else "")}
    if message.tool_calls and not sampled:  # what was sampled has its calls in its words
        entry["tool_calls"] = [dict(call) for call in message.tool_calls]
    return entry


def _instructed(messages: list[Message], words: str) -> list[Message]:
    if messages and messages[0].role == "system":
        return [replace(messages[0], content=f"{messages[0].content}\n\n{words}"), *messages[1:]]
    return [Message("system", words), *messages]


def _folded(messages: list[Message]) -> list[Message]:
    """Without system messages; their words stand before those of the first user."""
    words = "\n\n".join(message.content for message in messages if message.role == "system")
    others = [message for message in messages if message.role != "system"]
    place = next((i for i, message in enumerate(others) if message.role == "user"), None)
    if place is None:
        return [Message("user", words), *others]
    others[place] = replace(others[place], content=f"{words}\n\n{others[place].content}")
    return others


def _alternating(messages: list[Message]) -> list[Message]:
    """Neighbours of one role joined by an empty line; what was sampled is never joined."""
    joined: list[Message] = []
    for message in messages:
        if joined and joined[-1].role == message.role and not (is_sampled(joined[-1]) or is_sampled(message)):
            joined[-1] = replace(joined[-1], content=f"{joined[-1].content}\n\n{message.content}")
        else:
            joined.append(message)
    return joined


def _seam(render: Callable[..., str], role: str) -> Seam | None:
    """The constant text around a reply in a role, or None if any probe shows that the template looks back or rewrites."""
    try:
        names = [f"\U000f8f00{i}\U000f8f01" for i in range(5)]
        pieces = _cut(render(_talk(names, reply=role)), names)
        if (
            pieces is None
            or pieces[2] != pieces[4]
            or pieces[3] != pieces[5]
            or (role == "user" and pieces[1] != pieces[3])
        ):
            return None
        head, tail = pieces[2], pieces[3]
        for shift in range(len(_PROBES)):
            words = [_PROBES[(shift + i) % len(_PROBES)] for i in range(7)]
            for system in (None, "rules"):
                expected = render(_talk(words[:1], system)) + "".join(
                    said + head + reply + tail for said, reply in zip(words[1::2], words[2::2], strict=True)
                )
                if render(_talk(words, system, role)) != expected:
                    return None
    except ConfigError:  # a template that refuses one of these is rendered in full each time
        return None
    return Seam(head, tail)


def _talk(contents: Sequence[str], system: str | None = None, reply: str = "user") -> list[dict[str, object]]:
    """A dialogue that the user begins; answers and replies follow by turns."""
    start: list[dict[str, object]] = [] if system is None else [{"role": "system", "content": system}]
    roles = ["user", *(("assistant", reply) * len(contents))]
    return start + [{"role": role, "content": content} for role, content in zip(roles, contents, strict=False)]


def _cut(text: str, names: Sequence[str]) -> list[str] | None:
    parts = []
    for name in names:
        before, mark, text = text.partition(name)
        if not mark:
            return None
        parts.append(before)
    return [*parts, text]
