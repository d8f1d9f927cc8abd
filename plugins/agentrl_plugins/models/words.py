"""Tokenises text in which control tokens may be only spelled: by a world, by a tool, by a demonstrator."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from agentrl import Ids

_FROM, _TO = "\U000f8f04", "\U000f8f05"  # private use; stand around what is only spelled
_GUARDED = re.compile(f"{_FROM}([^{_TO}]*){_TO}")
_GUARDS = re.compile(f"[{_FROM}{_TO}]")
_TAG = re.compile(r"</?[\w|｜]+>|\[/?\w+\]")
_THOUGHTS = ("<think>", "</think>")  # whoever writes them ends no turn
_CALLS = ("<tool_call>", "</tool_call>", "<|python_tag|>")  # of dialects; they keep them out of arguments


class Words:
    """Ids of text. What `plain` has been over is encoded as words, also where it spells a control token.

    Otherwise a page that says `<|im_end|>` would end a turn, and could forge the next one. Control tokens are those
    that the tokenizer calls special, and whatever token of its own the template writes around messages (`frames`).
    Headers and tags of ordinary text are guarded too, so that a template that looks for them finds none, and cut after
    their first letter, which gives them other ids than the real ones as far as the tokenizer has two ways to write them.
    """

    def __init__(self, backend: Any, frames: Sequence[str] = (), opening: str = "") -> None:
        added = {number: token for number, token in backend.get_added_tokens_decoder().items() if token.content}
        framed = "".join((*frames, opening))
        control = {
            number: token.content
            for number, token in added.items()
            if (token.special or token.content in framed) and token.content not in _THOUGHTS
        }
        self._backend = backend
        self._names = control
        self.control_ids = frozenset(control)
        self._control = _any_of(control.values())
        headers = set() if self._control.search(opening) else self._headers((*frames, opening))
        tags = set(_TAG.findall(framed)) - {*_THOUGHTS, *(token.content for token in added.values())}
        spelled = {*control.values(), *headers, *tags}
        self._spelled, self._said = _any_of(spelled), _any_of(spelled - {*_CALLS})

    def plain(self, text: str, *, said: bool = False) -> str:
        """The text with a guard around every control token that it spells; the same object where it spells none.

        In what an assistant is to have `said`, the tokens around a call are what sampling would have given.
        """
        spelled = self._said if said else self._spelled
        if _GUARDS.search(text):
            text = _GUARDS.sub("\N{REPLACEMENT CHARACTER}", text)
        if self._backend.normalizer is not None and self._hides_one(text):
            return f"{_FROM}{text}{_TO}"
        return spelled.sub(rf"{_FROM}\g<0>{_TO}", text) if spelled.search(text) else text

    def plain_values(self, value: object) -> object:
        """`plain` for every text inside a JSON value."""
        if isinstance(value, str):
            return self.plain(value)
        if isinstance(value, Mapping):
            return {self.plain_values(key): self.plain_values(item) for key, item in value.items()}
        return [self.plain_values(item) for item in value] if isinstance(value, (list, tuple)) else value

    def sampled(self, ids: Ids, text: str) -> str:
        """The text that these ids stand for, with a guard around what they only spell; sampled control tokens are bare."""
        if not self._spelled.search(text) and not _GUARDS.search(text):
            return text
        bare, guarded, run = "", "", list[int]()
        for number in (*ids.tolist(), None):
            if number is not None and number not in self._names:
                run.append(number)
                continue
            words = self._backend.decode(run, skip_special_tokens=False)
            name = "" if number is None else self._names[number]
            bare, guarded, run = bare + words + name, guarded + self.plain(words) + name, []
        if bare == text:
            return guarded
        last = self._names.get(int(ids[-1]), "") if len(ids) else ""  # a final stop token is no part of the text
        return guarded.removesuffix(last) if last and bare.removesuffix(last) == text else self.plain(text)

    def ids(self, text: str) -> Ids:
        """int32 [C], read-only."""
        if _FROM in text:
            parts = _GUARDED.split(text)
            ids = [i for n, part in enumerate(parts) for i in (self._words(part) if n % 2 else self._encoded(part))]
        else:
            ids = self._encoded(text)
        array = np.array(ids, np.int32)
        array.flags.writeable = False
        return array

    def _headers(self, frames: Sequence[str]) -> set[str]:
        """What names a role where no control token does: the text of each frame after its last control token."""
        ends = (self._control.split(frame)[-1].strip() for frame in frames)
        return {end for end in ends if len(end) > 2 and re.search(r"\w", end)}

    def _hides_one(self, text: str) -> bool:
        """Whether a control token is spelled in other characters, which the tokenizer takes for the same."""
        if text.isascii():
            return False
        found = len(self._control.findall(self._backend.normalizer.normalize_str(text)))
        return found > len(self._control.findall(text))

    def _words(self, text: str) -> list[int]:
        """Ids of what is only spelled; a header is cut after its first letter, or it would have the ids of a real one."""
        if self._spelled.fullmatch(text) and not self._control.search(text):
            return self._encoded(text[:1]) + self._encoded(text[1:])
        return _ids_of(self._spelling, text)

    def _encoded(self, text: str) -> list[int]:
        return _ids_of(self._backend, text)

    @functools.cached_property
    def _spelling(self) -> Any:
        """The same tokenizer without control tokens."""
        facts = json.loads(self._backend.to_str())
        for token in facts["added_tokens"]:
            token["special"] = token["id"] in self.control_ids
        backend = type(self._backend).from_str(json.dumps(facts))
        backend.encode_special_tokens = True
        return backend


def _any_of(names: Any) -> re.Pattern[str]:
    """Matches any of these texts, the longest first; nothing where there are none."""
    return re.compile("|".join(re.escape(name) for name in sorted(set(names), key=len, reverse=True)) or r"(?!)")


def _ids_of(backend: Any, text: str) -> list[int]:
    ids: list[int] = backend.encode(text, add_special_tokens=False).ids
    return ids
