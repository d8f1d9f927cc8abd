"""Reads the original's three files as a stream: a catalogue of 5 GB never stands in memory as one JSON value."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import agentrl
from agentrl_envs.webshop.generate import Listing

_CHUNK = 1 << 20


def listings(items: Path, attributes: Path | None, human: Path | None, limit: int | None) -> Iterator[Listing]:
    """The first `limit` entries of an items file, joined with attributes and human instructions by asin.

    As in the original, entries with the asin "nan", an asin of more than ten characters or one seen before are left
    out after counting. Raises ConfigError for a missing file, DataError for one that is not what it claims to be.
    """
    described: dict[str, Any] = dict(entries(attributes)) if attributes else {}
    wishes: dict[str, Any] = dict(entries(human)) if human else {}
    seen: set[str] = set()
    for number, (_, item) in enumerate(entries(items)):
        if limit is not None and number >= limit:
            return
        if not isinstance(item, dict) or not isinstance(item.get("asin"), str):
            raise agentrl.DataError(f"{items}: entry {number} is no product: an object with a string 'asin' is needed")
        asin = item["asin"]
        if asin == "nan" or len(asin) > 10 or asin in seen:
            continue
        seen.add(asin)
        yield Listing(item, described.pop(asin, {}), wishes.pop(asin, []))


def entries(path: Path) -> Iterator[tuple[str, Any]]:
    """The members of a JSON array (with empty names) or object, one at a time."""
    if not path.is_file():
        raise agentrl.ConfigError(f"there is no file {path}. Give the path of a WebShop data file, or omit it.")
    with path.open(encoding="utf-8") as file:
        try:
            yield from _members(_Text(file))
        except (json.JSONDecodeError, UnicodeDecodeError, StopIteration) as error:
            raise agentrl.DataError(f"{path} is no complete JSON array or object of products: {error}") from None


def _members(text: _Text) -> Iterator[tuple[str, Any]]:
    closing = {"[": "]", "{": "}"}.get(text.mark(), "")
    if not closing:
        raise json.JSONDecodeError("expected [ or {", "", 0)
    mark = text.mark()
    while mark != closing:
        name = ""
        text.back()
        if closing == "}":
            name = text.value()
            if text.mark() != ":":
                raise json.JSONDecodeError(f"expected : after {name!r}", "", 0)
        yield name, text.value()
        mark = text.mark()
        if mark == ",":
            mark = text.mark()
        elif mark != closing:
            raise json.JSONDecodeError(f"expected , or {closing}, not {mark!r}", "", 0)


class _Text:
    """A window that slides over a file of JSON."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._decoder = json.JSONDecoder()
        self._window = ""
        self._at = 0

    def mark(self) -> str:
        """The next character that is not blank."""
        while True:
            while self._at < len(self._window) and self._window[self._at].isspace():
                self._at += 1
            if self._at < len(self._window):
                self._at += 1
                return self._window[self._at - 1]
            if not self._read():
                raise json.JSONDecodeError("the file ends too early", "", 0)

    def back(self) -> None:
        """Un-read the last mark."""
        self._at -= 1

    def value(self) -> Any:
        """The next JSON value; reads on until it is complete."""
        self.mark()
        self.back()
        while True:
            try:
                value, end = self._decoder.raw_decode(self._window, self._at)
            except json.JSONDecodeError:
                if not self._read():
                    raise
                continue
            if end == len(self._window) and self._read():
                continue  # a number may go on in the next chunk
            self._at = end
            return value

    def _read(self) -> bool:
        chunk = self._file.read(max(_CHUNK, len(self._window) - self._at))
        self._window = self._window[self._at :] + chunk
        self._at = 0
        return bool(chunk)
