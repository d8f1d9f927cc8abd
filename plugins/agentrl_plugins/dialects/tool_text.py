"""What the tool dialects share: thoughts left out, marks kept out of what is written, JSON read or passed on."""

from __future__ import annotations

import json
from collections.abc import Sequence

from agentrl import Reading, ToolAction

THOUGHTS = ("<think>", "</think>")


def spoken(text: str) -> tuple[str, str]:
    """What is said after the thoughts, and why nothing is if they never end."""
    before, end, after = text.rpartition("</think>")
    if not end and "<think>" in text:
        return "", "<think> is never closed, so nothing was said or called"
    return (after if end else before or text).strip(), ""


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
