"""What the tool dialects share: JSON found by its brackets, marks kept out of what is written, JSON read or passed on."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence

from agentrl import Reading, ToolAction

THOUGHTS = ("<think>", "</think>", "<|channel|>")
"""What `agentrl.after_thought` looks for."""
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*+("?)|[\[{]|[\]}]', re.DOTALL)
_SOLID, _UNJOINED = re.compile(r"\S"), re.compile(r"[^;\s]")


def begin(text: str, at: int, what: re.Pattern[str] = _SOLID) -> int:
    """Where the first letter from `at` on is that is no blank."""
    found = what.search(text, at)
    return found.start() if found else len(text)


def json_end(text: str, start: int) -> int:
    """Where the object or list that begins at `start` ends; the end of the text where its brackets never close.

    Marks inside its strings are words.
    """
    depth = 0
    for token in _TOKEN.finditer(text, start):
        if token[0][0] == '"':
            if not token[1]:
                break
            continue
        depth += 1 if token[0] in "[{" else -1
        if depth <= 0:
            return token.end()
    return len(text)


def json_spans(text: str, start: int) -> Iterator[tuple[int, int]]:
    """Objects and lists from `start` on, with at most blanks and semicolons between them."""
    at = begin(text, start, _UNJOINED)
    while text[at : at + 1] in ("{", "["):
        end = json_end(text, at)
        yield at, end
        at = begin(text, end, _UNJOINED)


def reading(body: str) -> Reading:
    """Canonical where it is calls or a message. Broken JSON goes on to the world, which tells the agent why."""
    said = ToolAction.read(body)
    if said.error:
        return Reading(body.strip(), "" if body.strip() else said.error)
    return Reading(said.write())


def marked(text: str, marks: Sequence[str]) -> bool:
    """Whether a text holds something that the dialect reads as its own."""
    return any(mark in text for mark in marks)


def unmarked(document: str, marks: Sequence[str]) -> str:
    """A JSON document that says the same without any of the marks, which can only stand inside its strings."""
    if not marked(document, marks):
        return document
    return document.replace("<", "\\u003c").replace("`", "\\u0060")


def message(said: ToolAction, marks: Sequence[str]) -> str:
    """A message as it is, or as JSON where it would be read as something else."""
    text = said.write()
    if marked(text, marks):
        return unmarked(json.dumps({"message": said.message}, ensure_ascii=False), marks)
    return text
