"""A chat template, and what probes show of it: roles it knows, whether it looks back, what it does with thoughts."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from agentrl import ConfigError, Message, Tool, after_thought

MARKS = "\U000f8f00\U000f8f01\U000f8f02\U000f8f03"  # private use: no text should hold them
# What templates are known to treat specially inside a message: blanks at the ends, line breaks, thoughts, nothing.
_PROBES = ("a b", " lead", "trail \n", "\n\nlines\n", "<think>\nx\n</think>\n\ny", "", "{{ x }}", "é")
_TOOL: Tool = {
    "type": "function",
    "function": {
        "name": "probe_tool",
        "description": "Probes a thing.",
        "parameters": {
            "type": "object",
            "properties": {"probed": {"type": "string", "description": "the thing"}},
            "required": ["probed"],
        },
    },
}
_TODAY = re.compile(r"""\bstrftime_now\(\s*(['"])(.*?)\1\s*\)""")
_RULES = "rules of play"
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

    def __init__(self, tokenizer: Any, date: str | None = None) -> None:
        """`date`: the day that the template writes, whatever day it is; None: today.

        Raises ConfigError for a template that does not write what a user says.
        """
        self._tokenizer, self._in_parts = tokenizer, False
        self._text = None if date is None else _dated(tokenizer.chat_template, datetime.date.fromisoformat(date))
        if not self._renders(
            [("user", "probe")], "probe"
        ):  # templates of models that see want a list of texts and images
            self._in_parts = True
            if "probe" not in self.render(_talk(["probe"])):
                raise ConfigError("the chat template of this model does not write what a user says; use a chat model.")
        self._channels = "<|channel|>" in str(tokenizer.chat_template)
        self.notes: list[str] = []
        """What a person should know of it, once each."""
        self.opening, self.gap = self._opening()
        self.opens_thought = self.opening.rfind("<think>") > self.opening.rfind("</think>")
        self.alternates = not self._renders([("user", "q"), ("user", "r")], "r")
        self.roles = frozenset(self._roles())
        self.closings = self._closings()
        self.frames = self._frames()
        seam = _seam(self.render, "user")
        self.seams = {"user": seam, "tool": _seam(self.render, "tool") if "tool" in self.roles else seam}
        """Role of a reply → the constant text around it; None where the template looks back or rewrites."""
        self.tools = self._tools()
        self._calls = self._writes_calls()
        self.thoughts = self._thoughts()

    def render(self, messages: Rendered, tools: Sequence[Tool] = (), prompt: bool = True) -> str:
        """The text of messages. Raises ConfigError where the template refuses them."""
        if self._in_parts:
            messages = [m | {"content": [{"type": "text", "text": m["content"]}]} for m in messages]
        try:
            text: str = self._tokenizer.apply_chat_template(
                list(messages),
                tools=list(tools) or None,
                chat_template=self._text,
                tokenize=False,
                add_generation_prompt=prompt,
            )
        except Exception as error:  # a template is a stranger's program
            roles = ", ".join(str(message["role"]) for message in messages)
            raise ConfigError(
                f"the chat template of this model cannot write messages with the roles {roles}: {error}"
            ) from error
        return text

    def adapted(self, messages: Sequence[Message], tools: Sequence[Tool]) -> tuple[list[Message], Sequence[Tool]]:
        """Messages in the roles that the template knows, and the tools it can write; `notes` says what was changed.

        Tool results become the user's where there is no role `tool`; instructions, and tools that the template would
        not write, go to the front of the first message of the user where there is no role `system`; neighbours of one
        role are joined where the template demands that roles alternate.
        """
        shown = list(messages)
        if tools and not self.tools:
            self._note("writes no tools, so their schemas stand in the instructions")
            shown = _instructed(shown, "You can call these tools:\n" + "\n".join(map(json.dumps, tools)))
            tools = ()
        if "tool" not in self.roles and any(m.role == "tool" for m in shown):
            self._note("has no role tool, so results of tools are said by the user")
            shown = [replace(m, role="user") if m.role == "tool" else m for m in shown]
        if "system" not in self.roles and any(m.role == "system" for m in shown):
            self._note("has no role system, so instructions stand before the first words of the user")
            shown = _folded(shown)
        if not self._calls and any(m.tool_calls for m in shown):
            self._note("writes no calls of tools, so earlier ones stand in what the assistant said")
            shown = [_called(m) for m in shown]
        return (_alternating(shown) if self.alternates else shown), tools

    def mapped(self, message: Message, words: str, mark: str = "") -> dict[str, object]:
        """A message as the template takes it, with these words; a sampled one with `mark` behind them."""
        sampled = is_sampled(message)
        if (
            sampled and self._channels and "<|channel|>" in words
        ):  # it writes the channels itself, and refuses those that were sampled
            words = after_thought(words).text
        entry: dict[str, object] = {"role": message.role, "content": words + (mark if sampled else "")}
        if message.tool_calls and not sampled:  # what was sampled has its calls in its words
            entry["tool_calls"] = [dict(call) for call in message.tool_calls]
        return entry

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

    def _closings(self) -> list[str]:
        """The text after an answer that is over: the last of all, if there is any, else what stands before a reply.

        Nothing where that is only what stands before every reply.
        """
        bos = str(getattr(self._tokenizer, "bos_token", None) or "")
        before, _, rest = self._tried(_talk([MARKS[1], f"a{MARKS[0]}"]), prompt=False).partition(MARKS[1])
        header, _, last = rest.partition(f"a{MARKS[0]}")
        if last.strip() and not (before.removeprefix(bos).strip() and header.strip().endswith(last.strip())):
            return [last]
        before, _, rest = self._tried(_talk([MARKS[1], f"a{MARKS[0]}", MARKS[1]])).partition(MARKS[1])
        closing = rest.partition(MARKS[0])[2].partition(MARKS[1])[0]
        if before.removeprefix(bos) == closing:
            return []
        of_a_call = self._tried(_talk([MARKS[1], f"a{MARKS[0]}", MARKS[1]], reply="tool")).partition(MARKS[0])[2]
        return [closing, of_a_call.partition(MARKS[1])[0]] if "tool" in self.roles else [closing]

    def _frames(self) -> tuple[str, ...]:
        """The texts before messages of every role."""
        names = [f"\U000f8f00{i}\U000f8f01" for i in range(5)]
        system = names[0] if "system" in self.roles else None
        talks = [_talk(names[1:], system, reply) for reply in ("user", "tool") if reply in self.roles]
        cuts = [_cut(self._tried(talk), names if system else names[1:]) for talk in talks]
        return tuple(piece for pieces in cuts for piece in (pieces or ())[:-1])

    def _tools(self) -> bool:
        """Whether a tool is written with its description and parameters, wherever a dialogue stands, beside the rules."""
        system = _RULES if "system" in self.roles else None
        talks = [_talk(words, rules) for words in (["q"], ["q", "a", "r"]) for rules in {None, system}]
        if "tool" in self.roles:
            talks.append(_talk(["q", "a", "r"], system, "tool"))
        wanted = ("probe_tool", "Probes a thing.", "probed")
        texts = [(self._tried(talk, [_TOOL]), _RULES if talk[0]["role"] == "system" else "") for talk in talks]
        return all(rules in text and all(word in text for word in wanted) for text, rules in texts)

    def _writes_calls(self) -> bool:
        """Whether a call of an earlier answer is written with its arguments."""
        call = {"type": "function", "function": {"name": "probe_tool", "arguments": {"probed": "an argument"}}}
        said: dict[str, object] = {"role": "assistant", "content": "", "tool_calls": [call]}
        text = self._tried([*_talk(["q"]), said, *_talk(["r"])])
        return "probe_tool" in text and "an argument" in text

    def _note(self, what: str) -> None:
        note = f"the chat template of this model {what}"
        if note not in self.notes:
            self.notes.append(note)

    def _roles(self) -> list[str]:
        known = ["user", "assistant"]
        if self._renders([("system", _RULES), ("user", "q")], _RULES):
            known.append("system")
        if self._renders([("user", "q"), ("assistant", "a"), ("tool", "result of a tool")], "result of a tool"):
            known.append("tool")
        return known

    def _thoughts(self) -> Literal["none", "kept", "dropped"]:
        """What becomes of thoughts in old answers; "none" where the template does not speak of thoughts."""
        if self._channels:
            return "dropped"
        if "think" not in str(self._tokenizer.chat_template):
            return "none"
        talk = _talk(["q", "<think>\nponder\n</think>\n\nanswer", "r"])
        return "kept" if "ponder" in self._tried(talk) else "dropped"

    def _renders(self, talk: Sequence[tuple[str, str]], words: str) -> bool:
        return words in self._tried([{"role": role, "content": content} for role, content in talk])

    def _tried(self, messages: Rendered, tools: Sequence[Tool] = (), prompt: bool = True) -> str:
        """The text of messages; empty where the template refuses them."""
        try:
            return self.render(messages, tools, prompt)
        except ConfigError:
            return ""


def _dated(template: str, date: datetime.date) -> str:
    """The template with a day in place of today."""
    return _TODAY.sub(lambda call: repr(date.strftime(call[2])), template)


def is_sampled(message: Message) -> bool:
    """Whether a message still is what was sampled, so that its ids can stand in a prompt."""
    said = message.completion
    return said is not None and len(said.ids) > 0 and said.text == message.content


def _called(message: Message) -> Message:
    """With its calls as JSON behind its words."""
    calls = [json.dumps(dict(call), ensure_ascii=False) for call in message.tool_calls]
    return replace(message, content="\n".join(filter(None, (message.content, *calls))), tool_calls=())


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
