"""Rendering: from the messages of a dialogue to prompt ids, in which what was sampled keeps its sampled ids."""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import jinja2
import numpy as np

from agentrl import Completion, ConfigError, Dialogue, Ids, Message

Piece: TypeAlias = str | Completion
"""Template text that is tokenised, or a completion whose ids are taken as they are."""

_KEPT_DIALOGUES = 4096
_KEPT_PIECES = 16384
_MARKS = "\U000f8f00\U000f8f01\U000f8f02\U000f8f03"  # private use: no text should hold them
# What templates are known to treat specially inside a message: blanks at the ends, line breaks, thoughts, nothing.
_PROBES = ("a b", " lead", "trail \n", "\n\nlines\n", "<think>\nx\n</think>\n\ny", "", "{{ x }}", "é")


class Renderer:
    """Writes prompts for one tokenizer and its chat template.

    Only template text is tokenised. A sampled message is found again in the rendered text; where the template kept its
    words, its ids go in verbatim, whatever the tokenizer would have made of them; where the template rewrote it (old
    thoughts dropped), the new text is tokenised, and the prompt no longer appends. The template's end of a message is
    left out where the completion brought it (the sampled stop token).
    """

    def __init__(self, tokenizer: Any, stop_ids: frozenset[int]) -> None:
        self._tokenizer = tokenizer
        self._backend = tokenizer.backend_tokenizer
        self._stop_ids = stop_ids
        self.ids_of = functools.lru_cache(_KEPT_PIECES)(self._tokenise)
        self._opening, self._gap = _opening(self._render)
        self._seam = _seam(self._render)
        self._last: OrderedDict[str, tuple[tuple[Message, ...], Ids]] = OrderedDict()
        self.end_id = self._end()

    @property
    def append_only(self) -> bool:
        """Whether probes showed that the template never looks back, so that a longer dialogue renders only its end."""
        return self._seam is not None

    def prompt(self, dialogue: Dialogue) -> Ids:
        """int32 [P], read-only. Raises ConfigError where the chat template refuses the messages."""
        ids = self._continued(dialogue)
        if ids is None:
            ids = self._splice(self._pieces(dialogue.messages, dialogue.tools))
        ids.flags.writeable = False
        if self._seam is not None and not dialogue.tools:
            self._last[dialogue.key] = (dialogue.messages, ids)
            self._last.move_to_end(dialogue.key)
            if len(self._last) > _KEPT_DIALOGUES:
                self._last.popitem(last=False)
        return ids

    def forget(self, key: str) -> None:
        """Free what is kept for a dialogue."""
        self._last.pop(key, None)

    def _continued(self, dialogue: Dialogue) -> Ids | None:
        """The prompt made from the last one of this dialogue, if all that came is what was said to it and a reply."""
        known = self._last.get(dialogue.key)
        if known is None or dialogue.tools:
            return None
        before, prompt = known
        size, messages = len(before), dialogue.messages
        if len(messages) != size + 2 or any(a is not b for a, b in zip(before, messages, strict=False)):
            return None
        said, reply = messages[size], messages[size + 1]
        completion = said.completion
        if completion is None or completion.prompt_ids is not prompt or not _is_sampled(said) or reply.role != "user":
            return None
        assert self._seam is not None
        return np.concatenate([prompt, *self._after(completion, self._seam.between(reply.content))])

    def _splice(self, pieces: Sequence[Piece]) -> Ids:
        parts: list[Ids] = []
        said: Completion | None = None
        for piece in pieces:
            if isinstance(piece, Completion):
                said = piece
            elif said is not None:
                parts += self._after(said, piece)
            else:
                parts.append(self.ids_of(piece))
        return np.concatenate(parts) if parts else np.zeros(0, np.int32)

    def _after(self, said: Completion, text: str) -> tuple[Ids, Ids]:
        following = self.ids_of(text)
        closed = len(following) and said.ids[-1] == following[0] and int(following[0]) in self._stop_ids
        return said.ids, following[1:] if closed else following

    def _pieces(self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]]) -> list[Piece]:
        sampled = [message for message in messages if _is_sampled(message)]
        text = "".join(message.content for message in messages)
        mark = next((mark for mark in _MARKS if mark not in text), "")
        rendered = self._render(_plain(messages, mark), tools)
        sections = rendered.split(mark) if mark and sampled else [rendered]
        if len(sections) != len(sampled) + 1:  # the template dropped or repeated a message: nothing can be kept
            return [self._render(_plain(messages, ""), tools)]
        pieces: list[Piece] = []
        text = ""
        for section, message in zip(sections, sampled, strict=False):
            before = self._before(text + section, message.content)
            if before is None:
                text += section
                continue
            assert message.completion is not None
            pieces += [before, message.completion]
            text = ""
        return [*pieces, text + sections[-1]]

    def _before(self, text: str, content: str) -> str | None:
        """The text in front of a sampled message, exactly as it was prompted; None where its words were changed."""
        kept = content if text.endswith(content) else content.lstrip()
        if not text.endswith(kept):
            return None
        text = text[: len(text) - len(kept)]
        bare = text.rstrip()
        # Templates may write blanks between header and message that were not there when the message was sampled.
        if self._opening.strip() and bare.endswith(self._opening.rstrip()):
            return bare[: len(bare) - len(self._opening.rstrip())] + self._opening
        return text.removesuffix(self._gap)

    def _render(self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Any] = (), prompt: bool = True) -> str:
        try:
            text: str = self._tokenizer.apply_chat_template(
                list(messages), tools=list(tools) or None, tokenize=False, add_generation_prompt=prompt
            )
        except (jinja2.TemplateError, TypeError) as error:
            roles = ", ".join(message["role"] for message in messages)
            raise ConfigError(
                f"the chat template of this model cannot write messages with the roles {roles}: {error}"
            ) from error
        return text

    def _tokenise(self, text: str) -> Ids:
        ids = np.array(self._backend.encode(text, add_special_tokens=False).ids, np.int32)
        ids.flags.writeable = False
        return ids

    def _end(self) -> int | None:
        """The id with which the template closes what the assistant said, if a completion may end with it."""
        talk = _talk(["q", f"a{_MARKS[0]}", "r"])
        try:
            following = self.ids_of(self._render(talk).partition(_MARKS[0])[2])
        except ConfigError:  # a template that knows one exchange only
            following = self.ids_of("")
        if len(following) and int(following[0]) in self._stop_ids:
            return int(following[0])
        return self._tokenizer.eos_token_id if self._tokenizer.eos_token_id in self._stop_ids else None


@dataclass(frozen=True)
class _Seam:
    """The text around a user's reply, from the end of what the assistant said to where it speaks again."""

    head: str
    tail: str

    def between(self, content: str) -> str:
        return f"{self.head}{content}{self.tail}"


def _is_sampled(message: Message) -> bool:
    said = message.completion
    return said is not None and len(said.ids) > 0 and said.text == message.content


def _plain(messages: Sequence[Message], mark: str) -> list[dict[str, Any]]:
    """Messages as templates take them, sampled ones with `mark` behind them."""
    found = []
    for message in messages:
        sampled = _is_sampled(message)
        entry: dict[str, Any] = {"role": message.role, "content": message.content + (mark if sampled else "")}
        if message.tool_calls and not sampled:  # what was sampled has its calls in its words
            entry["tool_calls"] = [dict(call) for call in message.tool_calls]
        found.append(entry)
    return found


def _opening(render: Any) -> tuple[str, str]:
    """What the template writes where the assistant is to speak, and the blanks it later puts before what was said."""
    asked, bare = render(_talk(["q"])), render(_talk(["q"]), prompt=False)
    try:
        told = render(_talk(["q", _MARKS[0], "r"])).partition(_MARKS[0])[0]
    except ConfigError:  # a template that knows one exchange only
        told = asked
    gap = told[len(asked) :] if told.startswith(asked) else ""
    return asked[len(bare) :] if asked.startswith(bare) else "", gap if not gap.strip() else ""


def _seam(render: Any) -> _Seam | None:
    """The constant text between two answers, or None if any probe shows that the template looks back or rewrites."""
    try:
        names = [f"\U000f8f00{i}\U000f8f01" for i in range(5)]
        pieces = _cut(render(_talk(names)), names)
        if pieces is None or pieces[1] != pieces[3] or pieces[2] != pieces[4] or pieces[1] != pieces[5]:
            return None
        tail, head = pieces[1], pieces[2]
        for shift in range(len(_PROBES)):
            words = [_PROBES[(shift + i) % len(_PROBES)] for i in range(7)]
            for system in (None, "rules"):
                expected = render(_talk(words[:1], system)) + "".join(
                    said + head + reply + tail for said, reply in zip(words[1::2], words[2::2], strict=True)
                )
                if render(_talk(words, system)) != expected:
                    return None
    except ConfigError:  # a template that refuses one of these is rendered in full each time
        return None
    return _Seam(head, tail)


def _talk(contents: Sequence[str], system: str | None = None) -> list[dict[str, str]]:
    start = [] if system is None else [{"role": "system", "content": system}]
    roles = ("user", "assistant")
    return start + [{"role": roles[i % 2], "content": content} for i, content in enumerate(contents)]


def _cut(text: str, names: Sequence[str]) -> list[str] | None:
    found = []
    for name in names:
        before, mark, text = text.partition(name)
        if not mark:
            return None
        found.append(before)
    return [*found, text]
