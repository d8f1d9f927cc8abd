"""The codec of a Hugging Face tokenizer and its chat template: what was sampled keeps its ids in every later prompt."""

from __future__ import annotations

import datetime
import functools
import hashlib
import json
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

import numpy as np

from agentrl import Completion, ConfigError, Ids, Message, Prompt, RecordError, Tool, relation
from agentrl_plugins.models.template import MARKS, Template, is_sampled
from agentrl_plugins.models.words import Words

Piece: TypeAlias = str | Completion
"""Template text that is tokenised, or a completion whose ids are taken as they are."""

History: TypeAlias = Literal["template", "as_sampled"]

_KEPT_DIALOGUES = 4096
_KEPT_PIECES = 16384
FILE = "codec.json"


class TemplateCodec:
    """Writes prompts for one tokenizer and its chat template.

    Only template text is tokenised. A sampled message is found again in the rendered text; where the template kept its
    words, its ids go in verbatim, whatever the tokenizer would have made of them; where the template rewrote it (old
    thoughts dropped), the new text is tokenised, and the prompt no longer appends. The template's end of a message is
    left out where the completion brought it (the sampled stop token). With `history = "as_sampled"` a prompt always
    appends to the last one, whatever the template would do to old answers: cheaper to train, but not what a chat
    server will show the model. Messages in a role that the template lacks are folded into those it knows. Control
    tokens that a message only spells are words; the token with which the template closes an answer is a stop too. A
    template that writes the date writes that of the day on which the codec was made, so that a resumed run reads alike.
    """

    def __init__(
        self,
        tokenizer: Any,
        stop_ids: frozenset[int],
        max_context: int,
        history: History = "template",
        date: str | None = "",
    ) -> None:
        """Raises ConfigError for a tokenizer without a chat template or without a fast backend."""
        name = getattr(tokenizer, "name_or_path", "") or "the tokenizer"
        if not getattr(tokenizer, "chat_template", None):
            raise ConfigError(f"{name} has no chat template, so dialogues cannot be written; use an instruct model.")
        if not hasattr(tokenizer, "backend_tokenizer"):
            raise ConfigError(f"{name} is no fast tokenizer; save it as one (tokenizer.json) first.")
        self.tokenizer, self.max_context, self.history = tokenizer, max_context, history
        self._backend = tokenizer.backend_tokenizer
        dated = "strftime_now" in str(tokenizer.chat_template)
        self._date = (datetime.date.today().isoformat() if date == "" else date) if dated else None
        self._template = template = Template(tokenizer, self._date)
        self._words = Words(self._backend, template.frames, template.opening)
        self.roles, self.tools, self.thoughts = template.roles, template.tools, template.thoughts
        self.opens_thought, self.notes = template.opens_thought, template.notes
        self.ids_of = functools.lru_cache(_KEPT_PIECES)(self._words.ids)
        self._last: OrderedDict[int, tuple[tuple[Message, ...], Ids]] = OrderedDict()  # a cache, by id of the prompt
        self.stop_ids, self.end_id = self._ends(stop_ids)

    def __reduce__(self) -> tuple[object, ...]:
        return TemplateCodec, (self.tokenizer, self.stop_ids, self.max_context, self.history, self._date)

    @functools.cached_property
    def name(self) -> str:
        """Hash of tokenizer, template, what is done with old answers, and the date where the template writes it."""
        text = f"{self._backend.to_str()}|{self.tokenizer.chat_template}|{sorted(self.stop_ids)}|{self.history}"
        text += f"|{self._date}" if self._date is not None else ""
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()

    @property
    def append_only(self) -> bool:
        """Whether probes showed that the template never looks back, so that a longer dialogue renders only its end."""
        return self._template.seams["user"] is not None

    def prompt(
        self, messages: Sequence[Message], *, tools: Sequence[Tool] = (), after: Completion | None = None
    ) -> Prompt:
        """Raises ConfigError where the chat template refuses the messages."""
        after = after if after is not None and len(after.prompt_ids) else None  # a chat service has no ids
        messages = tuple(messages)
        ids = self._continued(messages, after) if not tools else None
        if ids is None and self.history == "as_sampled" and after is not None:
            ids = self._appended(messages, tools, after)
        if ids is not None and after is not None:
            how = Prompt(ids, "append", len(after.prompt_ids) + len(after.ids))
        else:
            ids = self._splice(self._pieces(*self._shown(messages, tools)))
            how = Prompt(ids, *relation(after, ids))
        ids.flags.writeable = False
        if self.append_only or self.history == "as_sampled":
            self._last[id(ids)] = (messages, ids)
            if len(self._last) > _KEPT_DIALOGUES:
                self._last.popitem(last=False)
        return how

    def say(self, text: str, *, stop: Sequence[str] = ()) -> Ids:
        """The text up to its first stop string, or to its end with the template's end of a message."""
        ends = [text.index(word) + len(word) for word in stop if word and word in text]
        if ends:
            return self.ids_of(self._words.plain(text[: min(ends)], said=True))
        ids = self.ids_of(self._words.plain(text, said=True))
        return ids if self.end_id is None else np.append(ids, np.int32(self.end_id))

    def decode(self, ids: Ids) -> str:
        """The words of sampled ids, without a final stop token; special tokens inside stay visible."""
        if len(ids) and int(ids[-1]) in self.stop_ids:
            ids = ids[:-1]
        text: str = self._backend.decode(ids.tolist(), skip_special_tokens=False)
        return text

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.tokenizer.save_pretrained(folder)
        facts = {"name": self.name, "stop_ids": sorted(self.stop_ids), "max_context": self.max_context}
        facts |= {"history": self.history} | ({"date": self._date} if self._date is not None else {})
        (folder / FILE).write_text(json.dumps(facts) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> TemplateCodec:
        """What `save` wrote, or the tokenizer of a model folder. Raises RecordError where it is not whole."""
        from transformers import AutoTokenizer

        try:
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            for how in ("is_local", "local_files_only"):  # how it was loaded is no part of it, but would be saved
                tokenizer.init_kwargs.pop(how, None)
            if not (folder / FILE).exists():
                return cls(tokenizer, frozenset({tokenizer.eos_token_id}), tokenizer.model_max_length)
            facts = json.loads((folder / FILE).read_text(encoding="utf-8"))
            stops = frozenset(facts["stop_ids"])
            codec = cls(tokenizer, stops, facts["max_context"], facts["history"], facts.get("date"))
        except (OSError, ValueError, KeyError) as error:
            raise RecordError(f"{folder} holds no codec ({type(error).__name__}: {error})") from error
        if codec.name != facts["name"]:
            raise RecordError(f"the codec in {folder} is another than was saved there; was a file changed?")
        return codec

    def _ends(self, known: frozenset[int]) -> tuple[frozenset[int], int | None]:
        """All stops, with those tokens that close an answer in the template; and the one that ends what is said."""
        closings = [int(token) for text in self._template.closings for token in self.ids_of(text.lstrip())[:1]]
        ends = [token for token in closings if token in known or token in self._words.control_ids]
        name, eos = self.tokenizer.convert_ids_to_tokens, self.tokenizer.eos_token_id
        if ends and ends[0] not in known:
            self.notes.append(
                f"the chat template closes an answer with {name(ends[0])!r}, which the model does not call an end "
                f"({', '.join(map(repr, map(name, sorted(known)))) or 'it calls none'}); it is taken as a stop too"
            )
        if not ends:
            self.notes.append(
                "the chat template closes an answer with no control token, so that only the length and "
                f"{', '.join(map(repr, map(name, sorted(known)))) or 'no token at all'} end one"
            )
        return known | set(ends), ends[0] if ends else eos if eos in known else None

    def _continued(self, messages: tuple[Message, ...], after: Completion | None) -> Ids | None:
        """The prompt made from the last one, if all that came is what was said to it and a reply."""
        known = self._last.get(id(after.prompt_ids)) if after is not None else None
        if known is None or after is None or known[1] is not after.prompt_ids:
            return None
        before, size = known[0], len(known[0])
        if len(messages) != size + 2 or any(a is not b for a, b in zip(before, messages, strict=False)):
            return None
        said, reply = messages[size], messages[size + 1]
        seam = self._template.seams.get(reply.role)
        if said.completion is not after or not is_sampled(said) or seam is None:
            return None
        return np.concatenate([after.prompt_ids, *self._after(after, seam.between(self._words.plain(reply.content)))])

    def _appended(self, messages: tuple[Message, ...], tools: Sequence[Tool], after: Completion) -> Ids | None:
        """The last prompt, what was sampled, and the template's text for all that came since.

        None where what was sampled is not there any more, and where the context changed what was seen before it.
        """
        known = self._last.get(id(after.prompt_ids))
        place = next((i for i in range(len(messages) - 1, -1, -1) if messages[i].completion is after), None)
        if place is None or messages[place].content != after.text:
            return None
        if known is not None and known[1] is after.prompt_ids and known[0] != messages[:place]:
            return None
        adapted, told = self._shown(messages, tools)
        mark = next((mark for mark in MARKS if all(mark not in message.content for message in messages)), "")
        marked = [self._template.mapped(m, self._spoken(m)) for m in adapted]
        for entry, message in zip(marked, adapted, strict=True):
            if message.completion is after:
                entry["content"] = mark  # alone: what a template makes of old answers is none of our business here
        text = self._template.render(marked, told)
        if not mark or mark not in text:
            return None
        return np.concatenate([after.prompt_ids, *self._after(after, text.rpartition(mark)[2])])

    def _shown(self, messages: Sequence[Message], tools: Sequence[Tool]) -> tuple[list[Message], Sequence[Tool]]:
        """Messages and tools as the template takes them; control tokens that they spell are words."""
        adapted, told = self._template.adapted(messages, tools)
        return [self._plain(message) for message in adapted], [cast(Tool, self._words.plain_values(t)) for t in told]

    def _plain(self, message: Message) -> Message:
        content = message.content if is_sampled(message) else self._words.plain(message.content)
        calls = self._words.plain_values(message.tool_calls) if message.tool_calls else ()
        if content is message.content and not calls:
            return message
        return replace(message, content=content, tool_calls=tuple(cast(list[Tool], calls)))

    def _spoken(self, message: Message) -> str:
        """The words of a message; of a sampled one those in which only sampled control tokens are such."""
        if not is_sampled(message):
            return message.content
        assert message.completion is not None
        return self._words.sampled(message.completion.ids, message.content)

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
        both = len(following) and len(said.ids)
        closed = both and said.ids[-1] == following[0] and int(following[0]) in self.stop_ids
        return said.ids, following[1:] if closed else following

    def _pieces(self, messages: Sequence[Message], tools: Sequence[Tool]) -> list[Piece]:
        spoken = [self._spoken(message) for message in messages]
        try:
            return self._spliced(messages, spoken, tools)
        except ConfigError:  # what was sampled may be what the template refuses; its marks are words then
            words = [
                self._words.plain(message.content) if is_sampled(message) else text
                for message, text in zip(messages, spoken, strict=True)
            ]
            if words == spoken:
                raise
            return self._spliced(messages, words, tools)

    def _spliced(self, messages: Sequence[Message], spoken: Sequence[str], tools: Sequence[Tool]) -> list[Piece]:
        """Template text, and completions where it kept their words."""
        template = self._template
        sampled = [(m.completion, words) for m, words in zip(messages, spoken, strict=True) if is_sampled(m)]
        mark = next((mark for mark in MARKS if mark not in "".join(spoken)), "")
        rendered = template.render([template.mapped(*each, mark) for each in zip(messages, spoken, strict=True)], tools)
        sections = rendered.split(mark) if mark and sampled else [rendered]
        if len(sections) != len(sampled) + 1:  # the template dropped or repeated a message: nothing can be kept
            return [template.render([template.mapped(*each) for each in zip(messages, spoken, strict=True)], tools)]
        pieces: list[Piece] = []
        text = ""
        for section, (completion, words) in zip(sections, sampled, strict=False):
            before = template.before(text + section, words)
            if before is None:
                text += section
                continue
            assert completion is not None
            pieces += [before, completion]
            text = ""
        return [*pieces, text + sections[-1]]
