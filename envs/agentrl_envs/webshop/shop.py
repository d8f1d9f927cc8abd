"""A shop: catalogue, search index and goals, opened once per process and shared by every session in it."""

from __future__ import annotations

import functools
import hashlib
import io
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agentrl_envs.cache import cache_folder, filled, shared
from agentrl_envs.fulltext import Index
from agentrl_envs.webshop import files, generate
from agentrl_envs.webshop.catalogue import Builder, Catalogue
from agentrl_envs.webshop.generate import Listing, Style
from agentrl_envs.webshop.goals import Author, Goals, Mode

_FORMAT = 1  # of the cache; a change makes old folders unused
_MANY = 50_000  # products from which a shop is kept on disk
_LARGE = 100_000_000  # bytes of an items file from which it is
_QUERIES = 4096  # results kept


@dataclass(frozen=True, slots=True)
class Stock:
    """Where the products come from."""

    products: int | None  # None: all of a file
    seed: int = 0
    style: Style = "full"
    items: Path | None = None
    attributes: Path | None = None
    human: Path | None = None
    cache: Path | None = None  # None: a folder under the user's cache

    def listings(self) -> Iterator[Listing]:
        """Read or generate them."""
        if self.items is not None:
            return files.listings(self.items, self.attributes, self.human, self.products)
        return generate.listings(self.products or 0, self.seed, self.style)

    @property
    def large(self) -> bool:
        """Whether it is worth a cache on disk."""
        if self.items is not None and self.items.is_file() and self.items.stat().st_size > _LARGE:
            return self.products is None or self.products > _MANY
        return (self.products or 0) > _MANY

    @property
    def folder(self) -> Path:
        """Where its cache lies; the name covers everything that decides the content."""
        parts = [str(_FORMAT), str(self.products), str(self.seed), self.style]
        for path in (self.items, self.attributes, self.human):
            status = path.stat() if path is not None and path.is_file() else None
            parts.append(f"{path and path.resolve()}:{status and (status.st_size, status.st_mtime_ns)}")
        name = hashlib.blake2b("|".join(parts).encode(), digest_size=12).hexdigest()
        return cache_folder("webshop", name, self.cache)


class Shop:
    """What all sessions share; nothing in it changes."""

    def __init__(self, catalogue: Catalogue, index: Index, hits: int, page_size: int) -> None:
        self.catalogue = catalogue
        self.index = index
        self.hits = hits
        self.page_size = page_size
        self._best = functools.lru_cache(maxsize=_QUERIES)(index.best)
        self._matching = functools.lru_cache(maxsize=64)(catalogue.matching)

    def results(self, query: str, draw: int) -> NDArray[np.int32]:
        """int32 [hits], the products found. `<r>` is decided by `draw`; `<a>`, `<c>` and `<q>` list all that match."""
        first, *rest = query.split(" ")
        if first == "<r>":
            size = len(self.catalogue)
            return np.array(random.Random(draw).sample(range(size), min(size, self.hits)), np.int32)
        if first == "<a>":
            return self._matching("attribute", " ".join(rest).strip())
        if first == "<c>":
            return self._matching("category", rest[0].strip() if rest else "")
        if first == "<q>":
            return self._matching("query", " ".join(rest).strip())
        return self._best(query, self.hits)


@shared(4)
def open_shop(stock: Stock, hits: int, page_size: int) -> Shop:
    """The shop of this process with these settings."""
    catalogue, index = _kept(stock) if stock.large else _made(stock)
    return Shop(catalogue, index, hits, page_size)


@shared(8)
def open_goals(stock: Stock, hits: int, page_size: int, author: Author, mode: Mode, price_seed: int | None) -> Goals:
    """The goals of this process with these settings."""
    return Goals(open_shop(stock, hits, page_size).catalogue, author, mode, price_seed)


def _made(stock: Stock) -> tuple[Catalogue, Index]:
    records = io.BytesIO()
    builder = Builder(records)
    index = Index.build(product.searched_text for product in builder.products(stock.listings()))
    return Catalogue(records.getvalue(), *builder.columns()), index


def _kept(stock: Stock) -> tuple[Catalogue, Index]:
    """Map the cache; build it first if there is none."""
    folder = filled(stock.folder, functools.partial(_build, stock))
    return Catalogue.open(folder), Index.open(folder / "index")


def _build(stock: Stock, folder: Path) -> None:
    with (folder / "records").open("wb") as records:
        builder = Builder(records)
        index = Index.build(product.searched_text for product in builder.products(stock.listings()))
    columns, words = builder.columns()
    Catalogue(b"", columns, words).save(folder)
    index.save(folder / "index")
