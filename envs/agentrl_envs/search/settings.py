"""What a search world is made of: its questions and its retriever, opened once per process and shared."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias
from urllib.parse import urlsplit

import agentrl
from agentrl_envs.cache import shared
from agentrl_envs.search.corpus import Corpus, Retriever, open_corpus
from agentrl_envs.search.dense import Dense
from agentrl_envs.search.knowledge import Preset, knowledge
from agentrl_envs.search.questions import MOST_HOPS, Generated, Loaded, Questions

Kind: TypeAlias = Literal["bm25", "dense", "remote"]


@dataclass(frozen=True, slots=True)
class Library:
    """Where documents come from and how they are found; the same library is opened once in a process."""

    kind: Kind = "bm25"
    preset: Preset = "full"
    seed: int = 0
    corpus: Path | None = None  # None: the generated one
    embeddings: Path | None = None
    encoder: str = "hashed"
    url: str = ""
    timeout_s: float = 30.0
    cache: Path | None = None

    def __post_init__(self) -> None:
        """Raises ConfigError for settings that do not go together."""
        if bool(self.url) != (self.kind == "remote"):
            raise agentrl.ConfigError(
                f"url = {self.url!r} with retriever = {self.kind!r}: a remote retriever needs a url, and only that one"
            )
        if self.url and (urlsplit(self.url).scheme not in ("http", "https") or not urlsplit(self.url).hostname):
            raise agentrl.ConfigError(f"url = {self.url!r}: give all of it, as in http://127.0.0.1:8000/retrieve")
        if self.timeout_s <= 0:
            raise agentrl.ConfigError(f"timeout_s = {self.timeout_s}: give seconds, more than 0")
        if self.kind != "dense" and (self.embeddings is not None or self.encoder != "hashed"):
            raise agentrl.ConfigError("embeddings and encoder belong to retriever = 'dense'")
        if self.kind == "remote" and self.corpus is not None:
            raise agentrl.ConfigError("a remote retriever has the corpus on its side: omit corpus")
        if not 0 <= self.seed < 2**32:
            raise agentrl.ConfigError(f"seed = {self.seed}: allowed are whole numbers from 0 to {2**32 - 1}")


@dataclass(frozen=True, slots=True)
class Quiz:
    """Which questions are asked; the same quiz is read once in a process."""

    preset: Preset
    seed: int
    hops: tuple[int, int]
    files: tuple[tuple[str, Path], ...] = ()  # split, file

    @classmethod
    def of(cls, preset: Preset, seed: int, hops: tuple[int, int] | None, files: Iterable[tuple[str, Path]]) -> Quiz:
        """Raises ConfigError for settings that do not go together."""
        named = tuple((split, Path(path)) for split, path in files)
        if named and (hops is not None or preset == "tiny"):
            raise agentrl.ConfigError("hops and preset = 'tiny' are for generated questions: omit them")
        fewest, most = hops or (1, MOST_HOPS[preset])
        if not 1 <= fewest <= most <= MOST_HOPS[preset]:
            raise agentrl.ConfigError(
                f"hops = {(fewest, most)}: preset {preset!r} has questions of 1 to {MOST_HOPS[preset]} hops; "
                "give the fewest and the most"
            )
        return cls(preset, seed, (fewest, most), named)


@shared(4)
def open_retriever(library: Library) -> Retriever:
    """The retriever of this process with these settings."""
    if library.kind == "remote":
        from agentrl_envs.search.remote import Remote  # here, since its libraries are slow to import

        return Remote(library.url, library.timeout_s)
    corpus: Corpus = knowledge(library.preset, library.seed).documents
    if library.corpus is not None:
        corpus = open_corpus(library.corpus)
    if library.kind == "dense":
        return Dense.over(corpus, library.embeddings, library.encoder)
    from agentrl_envs.search.bm25 import BM25

    return BM25.over(corpus, library.corpus, library.cache)


@shared(8)
def open_questions(quiz: Quiz) -> Questions:
    """The questions of this process with these settings."""
    return Loaded(dict(quiz.files)) if quiz.files else Generated(quiz.preset, quiz.seed, quiz.hops)
