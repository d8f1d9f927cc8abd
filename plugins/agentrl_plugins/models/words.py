"""Tokenises text in which control tokens may be only spelled: by a world, by a tool, by a demonstrator."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from agentrl import Ids

_GUARD = "\U000f8f04"  # private use; stands around what is only spelled


class Words:
    """Ids of text. What `plain` has been over is encoded as words, also where it spells a control token.

    Otherwise a page that says `<|im_end|>` would end a turn, and could forge the next one.
    """

    def __init__(self, backend: Any) -> None:
        self._backend = backend
        control = {number: t.content for number, t in backend.get_added_tokens_decoder().items() if t.special}
        self.control_ids = frozenset(control)
        names = "|".join(re.escape(name) for name in sorted(control.values(), key=len, reverse=True))
        self._control = re.compile(names or r"(?!)")
        self._guarded = re.compile(f"{_GUARD}({names}){_GUARD}" if names else r"(?!)")

    def plain(self, text: str) -> str:
        """The text with a guard around every control token that it spells; the same object where it spells none."""
        return self._control.sub(rf"{_GUARD}\g<0>{_GUARD}", text) if self._control.search(text) else text

    def plain_values(self, value: object) -> object:
        """`plain` for every text inside a JSON value."""
        if isinstance(value, str):
            return self.plain(value)
        if isinstance(value, Mapping):
            return {key: self.plain_values(item) for key, item in value.items()}
        return [self.plain_values(item) for item in value] if isinstance(value, (list, tuple)) else value

    def ids(self, text: str) -> Ids:
        """int32 [C], read-only."""
        if _GUARD in text:
            parts = self._guarded.split(text)
            ids = [
                i for n, part in enumerate(parts) for i in _encoded(self._spelling if n % 2 else self._backend, part)
            ]
        else:
            ids = _encoded(self._backend, text)
        array = np.array(ids, np.int32)
        array.flags.writeable = False
        return array

    @functools.cached_property
    def _spelling(self) -> Any:
        """The same tokenizer without control tokens."""
        backend = type(self._backend).from_str(self._backend.to_str())
        backend.encode_special_tokens = True
        return backend


def _encoded(backend: Any, text: str) -> list[int]:
    ids: list[int] = backend.encode(text, add_special_tokens=False).ids
    return ids
