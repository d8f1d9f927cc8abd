"""Questions: chains of one to four relations through the generated knowledge base, or those of a user's files."""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

import agentrl
from agentrl_envs.search import files
from agentrl_envs.search.knowledge import Knowledge, Preset, knowledge
from agentrl_envs.search.relations import NUMBER, Relation
from agentrl_envs.search.score import normalise

log = logging.getLogger(__name__)

MOST_HOPS: Mapping[Preset, int] = {"full": 4, "tiny": 2}
_SPLITS = ("train", "valid", "test")
_SIZES = {"train": 1_000_000, "valid": 1_000, "test": 1_000}


@dataclass(frozen=True, slots=True)
class Question:
    """One task. `path`: the pages that have to be read, in order; empty where nobody knows them."""

    split: str
    index: int
    text: str
    answers: tuple[str, ...]
    path: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Split, index and a hash of what is asked and what is right."""
        content = "\n".join((normalise(self.text), *self.answers))
        return f"{self.split}/{self.index}-{agentrl.fingerprint(content)}"


class Questions(Protocol):
    """Where tasks come from; never changed, so any number of sessions share it."""

    splits: Mapping[str, int]

    def question(self, split: str, index: int) -> Question: ...


class Generated:
    """Questions about a generated knowledge base. A split has lands of its own: no name and no fact is in two."""

    splits: Mapping[str, int] = _SIZES

    def __init__(self, preset: Preset, seed: int, hops: tuple[int, int]) -> None:
        self.knowledge: Knowledge = knowledge(preset, seed)
        self._seed, self._hops = seed, hops

    def lands(self, split: str) -> range:
        """Numbers of the lands that a split asks about: three quarters, and an eighth for each of the others."""
        count = len(self.knowledge.lands)
        bounds = (0, count * 3 // 4, count * 7 // 8, count)
        place = _SPLITS.index(split)
        return range(bounds[place], bounds[place + 1])

    def question(self, split: str, index: int) -> Question:
        """The same split and index give the same question."""
        random = np.random.default_rng((self._seed, _SPLITS.index(split), index))
        lands, (fewest, most) = self.lands(split), self._hops
        while True:
            land = self.knowledge.lands[lands[int(random.integers(len(lands)))]]
            names = [name for kind in land for name in land[kind]]
            start, hops = names[int(random.integers(len(names)))], int(random.integers(fewest, most + 1))
            chain = self._chain(self.knowledge.pages[start].kind, hops, random)
            path = self._walk(start, chain)
            if len(set(path)) == len(path):  # a chain that comes back could be cut short
                return Question(split, index, _asked(start, chain), (path[-1],), path[:-1])

    def _chain(self, kind: str, hops: int, random: np.random.Generator) -> list[Relation]:
        chain: list[Relation] = []
        for hop in range(hops):
            usable = [r for r in self.knowledge.relations[kind] if r.object != NUMBER or hop == hops - 1]
            chain.append(usable[int(random.integers(len(usable)))])
            kind = chain[-1].object
        return chain

    def _walk(self, start: str, chain: list[Relation]) -> tuple[str, ...]:
        path = [start]
        for relation in chain:
            path.append(self.knowledge.pages[path[-1]].facts[relation.name])
        return tuple(path)


class Loaded:
    """Questions of files, one per split. What is in two splits stays only in the later one, so splits share nothing."""

    def __init__(self, paths: Mapping[str, Path]) -> None:
        read = {split: files.questions(path) for split, path in paths.items()}
        later: set[str] = set()
        self._kept: dict[str, list[files.Asked]] = {}
        for split in reversed(read):
            kept = [asked for asked in read[split] if normalise(asked.text) not in later]
            if not kept:
                raise agentrl.DataError(f"{paths[split]}: every question is also in another split, none is left")
            if len(kept) < len(read[split]):
                log.warning(
                    "%s: %d questions are in a later split too and left out", split, len(read[split]) - len(kept)
                )
            later |= {normalise(asked.text) for asked in kept}
            self._kept[split] = kept
        self.splits: Mapping[str, int] = {split: len(self._kept[split]) for split in read}

    def question(self, split: str, index: int) -> Question:
        asked = self._kept[split][index]
        return Question(split, index, asked.text, asked.answers)


def _asked(start: str, chain: list[Relation]) -> str:
    """A question in words.

    >>> from agentrl_envs.search.relations import FULL
    >>> of = {relation.name: relation for relation in FULL}
    >>> _asked("Ada Bell", [of["employer"], of["founder"]])
    'Who founded the company that Ada Bell works for?'
    """
    words = functools.reduce(lambda inner, relation: relation.phrase.format(inner), chain[:-1], start)
    return chain[-1].question.format(words)
