"""Dense retrieval: the inner product of every document's embedding with the query's, by brute force in NumPy."""

from __future__ import annotations

import functools
import importlib
import re
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

import agentrl
from agentrl_envs.search.corpus import Corpus, Hit

Vectors: TypeAlias = NDArray[np.float32]
Encoder: TypeAlias = Callable[[Sequence[str], bool], ArrayLike]
"""Texts, and whether they are queries (not documents), to an array [B, D] of floats."""

HASHED_WIDTH = 1024
_BATCH = 256  # documents encoded at a time
_BLOCK = 65_536  # embeddings scored at a time
_WORD = re.compile(r"\w+")
_LONGEST_WORD = 100  # characters of a word that count


class Dense:
    """A retriever over `embeddings` float [N, D], which may be mapped from disk."""

    def __init__(self, corpus: Corpus, embeddings: NDArray[np.floating], encoder: Encoder) -> None:
        if embeddings.ndim != 2 or len(embeddings) != len(corpus):
            raise agentrl.DataError(
                f"embeddings of shape {embeddings.shape} do not belong to a corpus of {len(corpus)} documents: "
                "one row per document, in the order of the file, is needed"
            )
        self._corpus, self._embeddings, self._encoder = corpus, embeddings, encoder

    @classmethod
    def over(cls, corpus: Corpus, embeddings: Path | None, encoder: str) -> Dense:
        """With embeddings from an `.npy` file, or, without one, with those the encoder makes now."""
        encode = encoder_of(encoder)
        if embeddings is None:
            return cls(corpus, _encoded(corpus, encode), encode)
        try:
            return cls(corpus, np.load(embeddings, mmap_mode="r", allow_pickle=False), encode)
        except (OSError, ValueError) as error:
            raise agentrl.ConfigError(f"embeddings = {embeddings} cannot be read as an .npy file: {error}") from None

    def retrieve(self, queries: Sequence[str], count: int) -> list[tuple[Hit, ...]]:
        """Raises ConfigError for an encoder whose vectors are of another width than the embeddings."""
        vectors = _vectors(self._encoder, list(queries), True)  # [B, D]
        if vectors.shape[1] != self._embeddings.shape[1]:
            raise agentrl.ConfigError(
                f"the encoder gives {vectors.shape[1]} numbers per text, the embeddings have {self._embeddings.shape[1]}: "
                "give the encoder that made them"
            )
        return [self._best(vector, count) for vector in vectors]

    def _best(self, vector: Vectors, count: int) -> tuple[Hit, ...]:
        blocks = range(0, len(self._embeddings), _BLOCK)
        parts = [np.asarray(self._embeddings[start : start + _BLOCK], np.float32) @ vector for start in blocks]
        scores = np.concatenate(parts)  # [N]
        floor = np.partition(scores, -count)[-count] if count < len(scores) else scores.min()
        found = np.flatnonzero(scores >= floor)
        found = found[np.lexsort((found, -scores[found]))[:count]]  # of equal scores the smaller number first
        hits = (self._corpus[int(number)] for number in found)
        return tuple(Hit(hit.id, hit.contents, float(score)) for hit, score in zip(hits, scores[found], strict=True))


def encoder_of(name: str) -> Encoder:
    """ "hashed", or "module:function" of anything installed, called with texts and whether they are queries.

    Raises ConfigError for a name that leads to no callable.
    """
    if name == "hashed":
        return hashed
    module, _, attribute = name.partition(":")
    try:
        found = functools.reduce(getattr, attribute.split("."), importlib.import_module(module))
    except (ImportError, AttributeError, ValueError) as error:
        raise agentrl.ConfigError(
            f'encoder = {name!r} cannot be imported ({error}). Give "hashed", or "module:function" that takes '
            "(texts, are_queries) and returns an array [texts, width]."
        ) from None
    if not callable(found):
        raise agentrl.ConfigError(f"encoder = {name!r} is {type(found).__name__}, not a function")
    encoder: Encoder = found
    return encoder


def hashed(texts: Sequence[str], are_queries: bool) -> Vectors:
    """float32 [B, 1024], of length 1: words and their three-letter pieces, hashed with signs. Needs no training.

    Weinberger et al. 2009 (feature hashing). It finds misspelt names that BM25 misses; it knows no meanings.
    """
    vectors = np.zeros((len(texts), HASHED_WIDTH), np.float32)
    for row, text in zip(vectors, texts, strict=True):
        for word in _WORD.findall(text.lower()):
            for feature, weight in _features(word[:_LONGEST_WORD]):
                row[feature] += weight
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.maximum(lengths, 1e-9)  # type: ignore[no-any-return]


@functools.lru_cache(maxsize=65_536)
def _features(word: str) -> tuple[tuple[int, float], ...]:
    """Place and signed weight of a word and of its pieces, which together weigh as much as the word."""
    padded = f"^{word}$"
    pieces = [padded[start : start + 3] for start in range(len(padded) - 2)]
    weighted = [(word, 1.0), *((piece, 1 / len(pieces)) for piece in pieces)]
    codes = [(zlib.crc32(text.encode("utf-8", "replace")), weight) for text, weight in weighted]
    return tuple((code % HASHED_WIDTH, weight if code & 1 << 31 else -weight) for code, weight in codes)


def _encoded(corpus: Corpus, encode: Encoder) -> Vectors:
    batches = []
    for start in range(0, len(corpus), _BATCH):
        texts = [corpus[number].contents for number in range(start, min(start + _BATCH, len(corpus)))]
        batches.append(_vectors(encode, texts, False))
    return np.concatenate(batches)


def _vectors(encode: Encoder, texts: list[str], are_queries: bool) -> Vectors:
    vectors = np.asarray(encode(texts, are_queries), np.float32)
    if vectors.ndim != 2 or len(vectors) != len(texts) or not np.isfinite(vectors).all():
        raise agentrl.DataError(
            f"the encoder gave an array of shape {vectors.shape} for {len(texts)} texts; finite numbers "
            f"[{len(texts)}, width] are needed"
        )
    return vectors
