"""The tags of Search-R1 (Jin et al. 2025): how a search or an answer is read, and how documents are shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from agentrl import after_thought
from agentrl_envs.search.corpus import Hit

NOTHING_FOUND = "Nothing was found."
EXPLANATION = (
    "That was neither a search nor an answer. To search, write the query between <search> and </search>. "
    "To answer, write the answer between <answer> and </answer>."
)


@dataclass(frozen=True, slots=True)
class Said:
    """What a completion asks for; `text` is the query or the answer."""

    kind: Literal["search", "answer", "nothing"]
    text: str = ""


def read(completion: str) -> Said:
    """The first tag counts, after a cut at the first `</search>`, or else at the first `</answer>`, as published.

    Other than published, a tag inside a thought counts for nothing (the dialect has taken the thought off already).

    >>> read("<think>who?</think><search> Ada Bell </search><answer>x</answer>")
    Said(kind='search', text='Ada Bell')
    >>> read("Ada Bell").kind
    'nothing'
    """
    if completion.lstrip().startswith("<think>"):
        completion = after_thought(completion).text
    closing = "</search>" if "</search>" in completion else "</answer>"
    cut = "".join(completion.partition(closing)[:2])
    tags = [tag for tag in (_first(cut, "search"), _first(cut, "answer")) if tag is not None]
    return min(tags, key=lambda tag: tag[0])[1] if tags else Said("nothing")


def _first(text: str, kind: Literal["search", "answer"]) -> tuple[int, Said] | None:
    """Where the first tag of a kind stands, and what is in it.

    No regular expression: it would look for the end of the tag from every start.
    """
    before, _, rest = text.partition(f"<{kind}>")
    inside, closed, _ = rest.partition(f"</{kind}>")
    if not closed:
        return None
    clean = inside.strip().encode("utf-8", "replace").decode()  # a lone surrogate can neither be sent nor kept
    return len(before), Said(kind, clean)


def search(query: str) -> str:
    """The action that searches."""
    return f"<search> {query} </search>"


def answer(text: str) -> str:
    """The action that answers."""
    return f"<answer> {text} </answer>"


def information(hits: Sequence[Hit], longest: int) -> str:
    """Documents as the agent sees them; of each at most `longest` characters of text.

    >>> information([Hit("1", "Ada Bell\\nborn in Red Hill")], 9)
    '<information>Doc 1(Title: Ada Bell) born in R</information>'
    """
    shown = [f"Doc {place}(Title: {hit.title}) {hit.text[:longest]}" for place, hit in enumerate(hits, 1)]
    return f"<information>{chr(10).join(shown) or NOTHING_FOUND}</information>"
