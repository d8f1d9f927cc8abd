"""BM25 over a corpus: Lucene's, as Anserini and Search-R1's own BM25 set it (k1 0.9, b 0.4, Porter stems)."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path

from agentrl_envs.cache import cache_folder, filled
from agentrl_envs.fulltext import Index
from agentrl_envs.search.corpus import Corpus, Hit

LARGE = 50_000_000  # bytes of a corpus file from which its index is kept on disk
_FORMAT = 1  # of the cache; a change makes old folders unused
_QUERIES = 4096  # results kept
_LONGEST_KEPT = 2000  # characters of a query


class BM25:
    """A retriever. It keeps the results of recent queries: the members of a group ask much the same."""

    def __init__(self, corpus: Corpus, index: Index) -> None:
        self._corpus, self._index = corpus, index
        self._found = functools.lru_cache(maxsize=_QUERIES)(self._find)

    @classmethod
    def over(cls, corpus: Corpus, file: Path | None = None, cache: Path | None = None) -> BM25:
        """Index a corpus; the index of a large file is kept in a cache folder and mapped from there."""
        if file is None or file.stat().st_size < LARGE:
            return cls(corpus, _built(corpus))
        return cls(corpus, _kept(corpus, file, cache))

    def retrieve(self, queries: Sequence[str], count: int) -> list[tuple[Hit, ...]]:
        return [(self._found if len(query) <= _LONGEST_KEPT else self._find)(query, count) for query in queries]

    def _find(self, query: str, count: int) -> tuple[Hit, ...]:
        found, scores = self._index.best_scored(query, count)
        hits = (self._corpus[int(number)] for number in found)
        return tuple(Hit(hit.id, hit.contents, float(score)) for hit, score in zip(hits, scores, strict=True))


def _built(corpus: Corpus) -> Index:
    return Index.build(corpus[number].contents for number in range(len(corpus)))


def _kept(corpus: Corpus, file: Path, cache: Path | None) -> Index:
    """Map the cache; build it first if there is none."""
    status = file.stat()
    name = f"{_FORMAT}|{file.resolve()}|{status.st_size}|{status.st_mtime_ns}"
    name = hashlib.blake2b(name.encode(), digest_size=12).hexdigest()
    return Index.open(filled(cache_folder("search", name, cache), lambda folder: _built(corpus).save(folder)))
