"""A generated knowledge base: lands of people, cities, companies, universities and novels, one page for each.

Every relation is one-to-one inside a land. So a chain of relations leads from equally many starts to every possible
answer, and no answer is likelier than another; what a question does not say can only be found by reading. Lands share
no name and no fact, so questions about different lands share nothing.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from agentrl_envs.search.corpus import Hit
from agentrl_envs.search.relations import ASIDES, FULL, NUMBER, TINY, WORDS, Relation

Preset: TypeAlias = Literal["full", "tiny"]
Random: TypeAlias = np.random.Generator

MEMBERS = 8
"""How many of each kind a land has."""

_NUMBERS = {"population": (5_000, 900_000), "staff": (200, 90_000), "students": (500, 60_000), "pages": (80, 1_200)}


@dataclass(frozen=True, slots=True)
class Page:
    """One page. `facts`: relation → what it leads to, a name or a number in words."""

    name: str
    kind: str
    text: str
    facts: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Knowledge:
    """All pages by name; `lands`: kind → names, for each land."""

    pages: Mapping[str, Page]
    lands: tuple[Mapping[str, tuple[str, ...]], ...]
    relations: Mapping[str, tuple[Relation, ...]]  # by the kind of their subject

    @property
    def documents(self) -> list[Hit]:
        """The corpus: title on the first line, then the text."""
        return [Hit(str(number), f"{page.name}\n{page.text}") for number, page in enumerate(self.pages.values())]


@functools.lru_cache(maxsize=8)
def knowledge(preset: Preset, seed: int) -> Knowledge:
    """The same arguments give the same knowledge base."""
    random = np.random.default_rng((seed, preset == "tiny"))
    relations = TINY if preset == "tiny" else FULL
    kinds = tuple(dict.fromkeys(relation.subject for relation in relations))
    count = 72 if preset == "tiny" else 64
    names = {kind: _names(_MAKERS[preset][kind], count * MEMBERS, random) for kind in kinds}
    pages: dict[str, Page] = {}
    lands = []
    for land in range(count):
        own = {kind: names[kind][land * MEMBERS : (land + 1) * MEMBERS] for kind in kinds}
        lands.append(own)
        pages |= _pages(own, relations, preset, random)
    by_kind = {kind: tuple(relation for relation in relations if relation.subject == kind) for kind in kinds}
    return Knowledge(pages, tuple(lands), by_kind)


def _pages(
    land: Mapping[str, tuple[str, ...]], relations: tuple[Relation, ...], preset: Preset, random: Random
) -> dict[str, Page]:
    facts: dict[str, dict[str, str]] = {name: {} for names in land.values() for name in names}
    for relation in relations:
        subjects = land[relation.subject]
        for subject, other in zip(subjects, _partners(relation, land, random), strict=True):
            facts[subject][relation.name] = other
    made = {}
    for kind, names in land.items():
        for name in names:
            said = [
                _pick(relation.sentences, random).replace("{s}", name).replace("{o}", facts[name][relation.name])
                for relation in relations
                if relation.subject == kind
            ]
            if preset == "full":
                said.append(_pick(ASIDES[kind], random).replace("{s}", name))
            text = " ".join(said[place] for place in random.permutation(len(said)).tolist())
            made[name] = Page(name, kind, text if preset == "full" else f"{name}: {text}", facts[name])
    return made


def _partners(relation: Relation, land: Mapping[str, tuple[str, ...]], random: Random) -> list[str]:
    """One for each subject, all different; nobody is their own."""
    subjects = land[relation.subject]
    if relation.object == NUMBER:
        low, high = _NUMBERS[relation.name]
        return [f"{low + int(drawn):,}" for drawn in random.choice(high - low, size=len(subjects), replace=False)]
    others = land[relation.object]
    order = random.permutation(len(others)).tolist()
    if relation.object != relation.subject:
        return [others[place] for place in order]
    following = dict(zip(order, order[1:] + order[:1], strict=True))  # one ring
    return [others[following[place]] for place in range(len(subjects))]


def _names(make: Callable[[Random], str], count: int, random: Random) -> tuple[str, ...]:
    made: dict[str, None] = {}
    while len(made) < count:
        made[make(random)] = None
    return tuple(made)


def _pick(options: tuple[str, ...], random: Random) -> str:
    return options[int(random.integers(len(options)))]


def _two(first: tuple[str, ...], second: tuple[str, ...]) -> Callable[[Random], str]:
    return lambda random: f"{_pick(first, random)} {_pick(second, random)}"


def _syllables(random: Random) -> str:
    parts = (WORDS["onsets"], WORDS["vowels"], WORDS["codas"], WORDS["vowels"])
    return "".join(_pick(part, random) for part in parts).capitalize()


_MAKERS: Mapping[Preset, Mapping[str, Callable[[Random], str]]] = {
    "full": {
        "person": lambda random: (
            f"{_pick(WORDS['given_names'], random)} {_syllables(random)}{_pick(WORDS['surname_ends'], random)}"
        ),
        "city": lambda random: _syllables(random) + _pick(WORDS["city_ends"], random),
        "company": lambda random: f"{_syllables(random)} {_pick(WORDS['firm_ends'], random)}",
        "university": lambda random: f"{_syllables(random)} {_pick(WORDS['school_ends'], random)}",
        "novel": lambda random: f"The {_pick(WORDS['qualities'], random)} {_pick(WORDS['things'], random)}",
    },
    "tiny": {
        "person": _two(WORDS["tiny_given"], WORDS["tiny_family"]),
        "city": _two(WORDS["tiny_first"], WORDS["tiny_place"]),
        "company": _two(WORDS["tiny_trade"], WORDS["tiny_firm"]),
    },
}
