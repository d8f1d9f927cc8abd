"""The products of one shop: packed records and the columns that goals and special searches need, shared read-only."""

from __future__ import annotations

import functools
import hashlib
import json
import mmap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

import agentrl
from agentrl_envs.webshop.generate import Listing
from agentrl_envs.webshop.products import Product, product_of

MOST_GOALS = 1_000_000  # of one request: a few options of many values multiply without end
_KEPT = 4096  # unpacked products kept for the next visitor

Column: TypeAlias = NDArray[Any]  # one of the kinds below

_COLUMNS = {
    "record_end": np.int64,  # [N] where each product's record ends
    "low": np.float64,  # [N] lowest price
    "high": np.float64,  # [N] highest price
    "category": np.int32,  # [N] code
    "query": np.int32,  # [N] code
    "attribute": np.int32,  # [A] codes of all products' attributes, one product after the other
    "attribute_end": np.int64,  # [N]
    "title_hash": np.uint64,  # [N]
    "request_product": np.int32,  # [R] requests of all products, in order
    "request_number": np.int32,  # [R] which of its product's requests
    "request_human": np.int32,  # [R] 1 for a person's request
    "request_goals": np.int64,  # [R] 1, or the number of combinations of options
    "request_hash": np.uint64,  # [R] of the text
    "wanted": np.int32,  # [W] codes of the attributes of all requests
    "wanted_end": np.int64,  # [R]
}


class Catalogue:
    """`len`, products by index, and columns; records and columns may lie in memory or in mapped files."""

    def __init__(
        self, records: bytes | mmap.mmap, columns: dict[str, Column], words: dict[str, dict[str, int]]
    ) -> None:
        self.columns = columns
        self.words = words  # "attribute" | "category" | "query" → word → code
        self._records = records
        self._ends = columns["record_end"]
        self._product = functools.lru_cache(maxsize=_KEPT)(self._unpack)

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, index: int) -> Product:
        return self._product(index)

    def __iter__(self) -> Iterator[Product]:
        return map(self._unpack, range(len(self)))

    def matching(self, column: str, word: str) -> NDArray[np.int32]:
        """Indices of the products with this "attribute", "category" or "query", in order."""
        code = self.words[column].get(word)
        if code is None:
            return np.zeros(0, np.int32)
        places = np.flatnonzero(self.columns[column] == code)
        if column == "attribute":
            places = np.unique(np.searchsorted(self.columns["attribute_end"], places, side="right"))
        return places.astype(np.int32)

    def save(self, folder: Path) -> None:
        """Write the columns and words; the records are already there."""
        for name, column in self.columns.items():
            np.save(folder / f"{name}.npy", column)
        (folder / "words.json").write_text(json.dumps(self.words), encoding="utf-8")

    @classmethod
    def open(cls, folder: Path) -> Catalogue:
        """Map a folder that `build` and `save` wrote."""
        with (folder / "records").open("rb") as file:
            records = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        columns = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in _COLUMNS}
        return cls(records, columns, json.loads((folder / "words.json").read_text(encoding="utf-8")))

    def _unpack(self, index: int) -> Product:
        start = int(self._ends[index - 1]) if index else 0
        return msgspec.json.decode(self._records[start : int(self._ends[index])], type=Product)


class Builder:
    """Takes listings one by one; writes records to `file`, collects columns."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._columns: dict[str, list[Column]] = {name: [] for name in _COLUMNS}
        self._chunk: dict[str, list[float]] = {name: [] for name in _COLUMNS}
        self._words: dict[str, dict[str, int]] = {"attribute": {}, "category": {}, "query": {}}
        self._wanted: dict[str, int] = {}
        self._count = 0
        self._totals = dict.fromkeys(("record_end", "attribute_end", "wanted_end"), 0)

    def products(self, listings: Iterable[Listing]) -> Iterator[Product]:
        """Each listing cleaned and stored; the caller indexes its text while it is at hand."""
        for listing in listings:
            product = product_of(listing)
            self._add(product)
            yield product

    def columns(self) -> tuple[dict[str, Column], dict[str, dict[str, int]]]:
        """What was collected, and the codes."""
        self._flush()
        return {name: np.concatenate(self._columns[name]).astype(kind) for name, kind in _COLUMNS.items()}, self._words

    def _add(self, product: Product) -> None:
        record = msgspec.json.encode(product)
        self._file.write(record)
        put = self._chunk
        put["record_end"].append(self._total("record_end", len(record)))
        put["low"].append(product.prices[0])
        put["high"].append(product.prices[-1])
        for column in ("category", "query"):
            put[column].append(_code(self._words[column], getattr(product, column)))
        put["attribute"].extend(_code(self._words["attribute"], word) for word in product.attributes)
        put["attribute_end"].append(self._total("attribute_end", len(product.attributes)))
        put["title_hash"].append(content_hash(product.title.lower()))
        combinations = 1
        for values in product.options.values():
            combinations = min(combinations * len(values), MOST_GOALS + 1)
        for number, request in enumerate(product.requests):
            put["request_product"].append(self._count)
            put["request_number"].append(number)
            put["request_human"].append(request.options is not None)
            goals = combinations if request.options is None else 1
            if goals > MOST_GOALS:
                raise agentrl.DataError(
                    f"product {product.asin!r} has more than {MOST_GOALS:,} combinations of options, each of them a goal; "
                    "leave some of its options out"
                )
            put["request_goals"].append(goals)
            put["request_hash"].append(content_hash(request.text.lower()))
            put["wanted"].extend(_code(self._wanted, word) for word in request.attributes)
            put["wanted_end"].append(self._total("wanted_end", len(request.attributes)))
        self._count += 1
        if self._count % 10_000 == 0:
            self._flush()

    def _total(self, name: str, more: int) -> int:
        self._totals[name] += more
        return self._totals[name]

    def _flush(self) -> None:
        for name, kind in _COLUMNS.items():
            self._columns[name].append(np.array(self._chunk[name], kind))
            self._chunk[name] = []


def content_hash(text: str) -> int:
    """64 bits that name a text, the same in every process."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest(), "little")


def _code(codes: dict[str, int], word: str) -> int:
    return codes.setdefault(word, len(codes))
