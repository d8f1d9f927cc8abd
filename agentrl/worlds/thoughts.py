"""Thoughts: where what a model said to itself ends, and what it says begins."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeAlias

OPEN, CLOSE = "<think>", "</think>"

Calls: TypeAlias = Callable[[str], Iterable[tuple[int, int]]]
"""Where calls (or actions, or code) stand in a text, in their order: marks inside them are no thought's."""

_MARK = re.compile(r"</?think>")
_SOLID = re.compile(r"\S")
# The channels of Harmony, which gpt-oss writes: analysis, then commentary or final.
_CHANNEL = re.compile(r"\s*(?:<\|start\|>assistant)?<\|channel\|>(\w+)[^<]*(?:<\|constrain\|>[^<]*)?<\|message\|>")
_END = re.compile(r"<\|(?:end|return|call)\|>")


@dataclass(frozen=True, slots=True)
class Spoken:
    """What is said after the thought; `error` says why nothing is."""

    text: str
    start: int = 0  # where it begins in the whole text
    thought: bool = False  # whether a thought stands before it
    error: str = ""


def after_thought(text: str, calls: Calls = lambda text: ()) -> Spoken:
    """What is said after the thought: the first `</think>` that stands in no call ends it, whoever opened it.

    A chat template may have opened it in the prompt already. Thoughts that follow one another are left out together.
    Every dialect looks for its action in here only, and a world is never shown a thought.

    >>> after_thought("<think>Shall I <b>1</b>?</think> <b>0</b>").text
    ' <b>0</b>'
    >>> after_thought("Yes.</think>go").text, after_thought("go").text
    ('go', 'go')
    >>> after_thought("<think>and then").error
    '<think> is never closed, so nothing was said or done (cut at max_tokens, or a stop string?)'
    """
    if "<" not in text:  # every mark has one
        return Spoken(text)
    if _CHANNEL.match(text):
        return _final_channel(text)
    begin = _solid(text, 0)
    if text.startswith(OPEN, begin):
        return _closed(text, begin)
    spans, called = iter(calls(text)), False
    span = next(spans, None)
    for mark in _MARK.finditer(text):
        while span is not None and span[1] <= mark.start():
            span, called = next(spans, None), True
        if span is not None and span[0] <= mark.start():
            continue
        if mark[0] == CLOSE:
            return Spoken(text[mark.end() :], mark.end(), True)
        return Spoken(text) if called else _closed(text, mark.start())
    return Spoken(text)


def _closed(text: str, at: int) -> Spoken:
    """After the thoughts that begin here."""
    start = at
    while text.startswith(OPEN, at):
        end = text.find(CLOSE, at)
        if end < 0:
            return _cut(text, OPEN)
        start = end + len(CLOSE)
        at = _solid(text, start)
    return Spoken(text[start:], start, True)


def _solid(text: str, at: int) -> int:
    """Where the first letter from `at` on is that is no blank."""
    found = _SOLID.search(text, at)
    return found.start() if found else len(text)


def _final_channel(text: str) -> Spoken:
    at = 0
    while head := _CHANNEL.match(text, at):
        end = _END.search(text, head.end())
        if head[1] != "analysis":
            return Spoken(text[head.end() : end.start() if end else len(text)], head.end(), at > 0)
        if end is None:
            return _cut(text, "the channel analysis")
        at = end.end()
    return Spoken(text[at:], at, True)


def _cut(text: str, what: str) -> Spoken:
    return Spoken(
        "",
        len(text),
        True,
        f"{what} is never closed, so nothing was said or done (cut at max_tokens, or a stop string?)",
    )
