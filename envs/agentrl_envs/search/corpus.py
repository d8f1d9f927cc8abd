"""Corpora: numbered documents in memory, in a JSONL file or in a Parquet file, and what a search finds among them."""

from __future__ import annotations

import json
import mmap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

import agentrl


@dataclass(frozen=True, slots=True)
class Hit:
    """A document that was found. `contents`: the title on the first line, then the text."""

    id: str
    contents: str
    score: float = 0.0

    @property
    def title(self) -> str:
        return self.contents.partition("\n")[0]

    @property
    def text(self) -> str:
        return self.contents.partition("\n")[2]


class Corpus(Protocol):
    """Documents by number; never changed, so any number of sessions share one."""

    def __len__(self) -> int: ...
    def __getitem__(self, number: int, /) -> Hit: ...


class Retriever(Protocol):
    """Finds documents. Safe to call from several threads."""

    def retrieve(self, queries: Sequence[str], count: int) -> list[tuple[Hit, ...]]:
        """The best `count` documents of each query, best first."""
        ...


class JsonLines:
    """A corpus in a JSONL file, which stays on disk: one object a line, `id` and `contents` (or `title` and `text`)."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with path.open("rb") as file:
            self._bytes: mmap.mmap | bytes = (
                mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if path.stat().st_size else b""
            )
        self._starts = np.fromiter(_line_starts(self._bytes), np.int64)

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, number: int) -> Hit:
        start = int(self._starts[number])
        end = self._bytes.find(b"\n", start)
        line = self._bytes[start : end if end >= 0 else len(self._bytes)]
        try:
            record = json.loads(line.decode("utf-8-sig"))
        except (ValueError, RecursionError) as error:
            raise agentrl.DataError(f"{self._path}: document {number} is no JSON: {error}") from None
        return _document(record, self._path, number)


class Parquet:
    """A corpus in a Parquet file, held as Arrow columns."""

    def __init__(self, path: Path) -> None:
        import pyarrow.parquet as pq

        try:
            self._table = pq.read_table(path, memory_map=True)
        except (OSError, ValueError) as error:
            raise agentrl.DataError(f"{path} is no Parquet file: {error}") from None
        self._path = path

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def __getitem__(self, number: int) -> Hit:
        record = {name: self._table.column(name)[number].as_py() for name in self._table.column_names}
        return _document(record, self._path, number)


def open_corpus(path: Path) -> Corpus:
    """By the end of the name: `.jsonl` or `.parquet`. Raises ConfigError for a file that is missing or of another kind."""
    if not path.is_file():
        raise agentrl.ConfigError(f"there is no corpus {path}. Give the path of a .jsonl or .parquet file.")
    if path.suffix not in (".jsonl", ".parquet"):
        raise agentrl.ConfigError(f"corpus {path}: files that end in .jsonl or .parquet can be read; convert it first")
    corpus = Parquet(path) if path.suffix == ".parquet" else JsonLines(path)
    if not len(corpus):
        raise agentrl.DataError(f"corpus {path} holds no document")
    corpus[0]  # tells at once whether it is one
    return corpus


def _line_starts(content: mmap.mmap | bytes) -> Iterator[int]:
    start, size = 0, len(content)
    while start < size:
        end = content.find(b"\n", start)
        end = size if end < 0 else end
        if content[start:end].strip():
            yield start
        start = end + 1


def _document(record: object, path: Path, number: int) -> Hit:
    if isinstance(record, Mapping):
        contents = record.get("contents")
        if contents is None and isinstance(record.get("text"), str):
            contents = f"{record.get('title') or ''}\n{record['text']}"
        if isinstance(contents, str):
            return Hit(str(record.get("id", number)), contents.encode("utf-8", "replace").decode())
    raise agentrl.DataError(
        f'{path}: document {number} has no text: an object with "contents" (title on the first line) is needed'
    )
