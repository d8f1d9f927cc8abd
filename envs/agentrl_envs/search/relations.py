"""Relations: what the generated knowledge base says of people, cities, companies, universities and novels."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

NUMBER = "number"
"""The kind of what has no page of its own, so that it can only be the end of a question."""


@dataclass(frozen=True, slots=True)
class Relation:
    """One thing a page says; `{}` is the page's name, and in `sentences` `{o}` what it is related to."""

    name: str
    subject: str
    object: str
    phrase: str  # stands for the object inside a longer question
    question: str
    sentences: tuple[str, ...]


def _relations(table: Mapping[str, list[str]]) -> tuple[Relation, ...]:
    made = []
    for name, (kinds, phrase, question, *sentences) in table.items():
        subject, other = kinds.split(" ")
        made.append(Relation(name, subject, other, phrase, question, tuple(sentences)))
    return tuple(made)


_TABLES = tomllib.loads(Path(__file__).with_name("knowledge.toml").read_text("utf-8"))
FULL, TINY = _relations(_TABLES["relations"]["full"]), _relations(_TABLES["relations"]["tiny"])
ASIDES: Mapping[str, tuple[str, ...]] = {kind: tuple(said) for kind, said in _TABLES["asides"].items()}
WORDS: Mapping[str, tuple[str, ...]] = {name: tuple(words.split()) for name, words in _TABLES["words"].items()}
