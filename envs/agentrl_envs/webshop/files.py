"""Reads the original's three files as a stream: a catalogue of 5 GB never stands in memory as one JSON value."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ijson

import agentrl
from agentrl_envs.webshop.generate import Listing

_BLANKS = 1 << 16  # bytes in which the file has to begin


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
    with path.open("rb") as file:
        marked = len(codecs.BOM_UTF8) if file.read(len(codecs.BOM_UTF8)) == codecs.BOM_UTF8 else 0
        file.seek(marked)
        opening = file.read(_BLANKS).lstrip()[:1]
        file.seek(marked)
        try:
            if opening == b"[":
                yield from (("", item) for item in ijson.items(file, "item", use_float=True))
            elif opening == b"{":
                yield from ijson.kvitems(file, "", use_float=True)
            else:
                raise ijson.JSONError("it begins with neither [ nor {")
        except (ijson.JSONError, ValueError, RecursionError) as error:  # UnicodeDecodeError is a ValueError
            raise agentrl.DataError(f"{path} is no complete JSON array or object of products: {error}") from None
