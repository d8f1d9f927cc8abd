"""Goals of a shop: what is asked for, the price clause, the split, the weight. All columns; one goal is made on demand."""

from __future__ import annotations

import functools
import hashlib
import itertools
import random
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

import agentrl
from agentrl_envs.webshop.catalogue import Catalogue, content_hash
from agentrl_envs.webshop.products import Wanted

Mode = Literal["fixed", "faithful"]
Author = Literal["synthetic", "human"]

NO_CAP = 1_000_000.0
TEST, DEV = 500, 1000
_PRICES = [10.0 * step for step in range(1, 100)]
_SHUFFLE_SEED = 233


@dataclass(frozen=True, slots=True)
class Goal:
    """What one task asks for."""

    product: int  # index of the product it was written for
    wish: str  # the request alone
    text: str  # the instruction: request, options, price clause
    attributes: tuple[str, ...]
    options: tuple[Wanted, ...]
    cap: float  # dollars; NO_CAP if the text has no price clause
    key: str  # stable, with a hash of the content


class Goals:
    """All goals of one shop in one mode, and the hidden prices they were drawn with.

    `faithful`: prices and caps are drawn in the catalogue's order from one generator, goals are shuffled with the
    original's seed 233, and split by position, so goals for one product fall into several splits. `fixed`: each price
    depends only on its own product, and all goals that share a product, a title or a wording are in one split.
    `price_seed` None draws anew in every process, as the original does.
    """

    def __init__(self, catalogue: Catalogue, author: Author, mode: Mode, price_seed: int | None) -> None:
        columns = catalogue.columns
        self._catalogue = catalogue
        chosen = (columns["request_human"] == (author == "human")) & (columns["request_goals"] > 0)
        self._request = np.flatnonzero(chosen)  # [S], the requests that count
        self._shares: dict[str, NDArray[np.float64]] = {}
        self._ends = np.cumsum(columns["request_goals"][self._request])
        if not len(self._ends):
            raise agentrl.ConfigError(
                f"this shop has no {author} goals. Give the file with them (attributes=… for synthetic, human=… for "
                "human ones), more products, or the other kind: goals = 'synthetic' or 'human'."
            )
        draw = _drawn_in_order if mode == "faithful" else _drawn_by_content
        self.prices, self._caps = draw(catalogue, self._request, price_seed)
        self.splits = _by_position(len(self)) if mode == "faithful" else self._by_content()

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, number: int) -> Goal:
        """The goal with this number, in the catalogue's order."""
        place = int(np.searchsorted(self._ends, number, side="right"))
        row = self._request[place]
        index = int(self._catalogue.columns["request_product"][row])
        product = self._catalogue[index]
        request = product.requests[int(self._catalogue.columns["request_number"][row])]
        options, phrase = request.options, ""
        if options is None:
            pairs = _combination(product.options, number - int(self._ends[place - 1] if place else 0))
            phrase = f" with {', and '.join(f'{name}: {value}' for name, value in pairs)}" if pairs else ""
            options = pairs
        cap = float(self._caps[place])
        clause = f", and price lower than {cap:.2f} dollars" if cap < NO_CAP else ""
        text = request.text + phrase + clause
        content = "\0".join((product.asin, text, *request.attributes, *map(str, options), str(cap)))
        key = f"{product.asin}-{content_hash(content):016x}"
        return Goal(index, request.text, text, request.attributes, options, cap, key)

    def draw(self, split: str, generator: np.random.Generator) -> int:
        """A position in a split, drawn by the goals' weights."""
        return int(np.searchsorted(self._cumulative(split), generator.random(), side="right"))

    def weights(self, numbers: NDArray[np.int32]) -> NDArray[np.float64]:
        """float64, like `numbers`: 1 for a person's goal, else the mean of 1 / frequency over its attributes."""
        return self._weights[np.searchsorted(self._ends, numbers, side="right")]

    @functools.cached_property
    def _weights(self) -> NDArray[np.float64]:
        columns = self._catalogue.columns
        if columns["request_human"][self._request[0]]:
            return np.ones(len(self._request))
        ends = columns["wanted_end"]
        lengths = np.diff(ends, prepend=0)
        goals = np.where(columns["request_human"] == 0, columns["request_goals"], 0)
        counts = np.bincount(columns["wanted"], np.repeat(goals, lengths).astype(np.float64))
        rarity = 1 / np.maximum(counts, 1)[columns["wanted"]]
        totals = np.concatenate([[0.0], np.cumsum(rarity)])[ends[self._request]]
        before = np.concatenate([[0.0], np.cumsum(rarity)])[(ends - lengths)[self._request]]
        weights: NDArray[np.float64] = (totals - before) / lengths[self._request]
        return weights

    def _cumulative(self, split: str) -> NDArray[np.float64]:
        if split not in self._shares:
            total = np.cumsum(self.weights(self.splits[split]))
            self._shares[split] = total / total[-1]
        return self._shares[split]

    def _by_content(self) -> dict[str, NDArray[np.int32]]:
        columns = self._catalogue.columns
        goals: NDArray[np.int64] = np.asarray(columns["request_goals"][self._request], np.int64)
        owner = columns["request_product"][self._request]
        wording: NDArray[np.uint64] = np.asarray(columns["request_hash"][self._request], np.uint64)
        title: NDArray[np.uint64] = np.asarray(columns["title_hash"][owner], np.uint64)
        family = _families(owner, wording, title)
        test, dev = min(TEST, len(self) // 5), min(DEV, len(self) // 5)
        part = _filled(family, goals, title, test, dev)
        row = np.repeat(np.arange(len(goals)), goals)  # [goals] place of each goal's request
        numbers = np.arange(len(self))
        content = wording ^ title
        order = np.lexsort((numbers, _mix(content[row], numbers - (self._ends - goals)[row]))).astype(np.int32)
        split = part[row[order]]
        parts = {"train": order[split == 2], "dev": order[split == 1][:dev], "test": order[split == 0][:test]}
        return {name: members for name, members in parts.items() if len(members)}


def _by_position(count: int) -> dict[str, NDArray[np.int32]]:
    order = list(range(count))
    random.Random(_SHUFFLE_SEED).shuffle(order)
    shuffled = np.array(order, np.int32)
    parts = {"train": shuffled[TEST + DEV :], "dev": shuffled[TEST : TEST + DEV], "test": shuffled[:TEST]}
    return {name: members for name, members in parts.items() if len(members)}


def _families(owner: NDArray[np.int32], wording: NDArray[np.uint64], title: NDArray[np.uint64]) -> NDArray[np.int64]:
    """int64 [S]: requests with one number share, perhaps through others, a product, a title or a wording."""
    edges = []
    for shared in (owner, wording, title):
        order = np.argsort(shared, kind="stable")
        same = shared[order[1:]] == shared[order[:-1]]
        edges.append(np.stack([order[1:][same], order[:-1][same]]))
    rows, columns = np.concatenate(edges, axis=1)
    graph = coo_array((np.ones(len(rows), np.int8), (rows, columns)), shape=(len(owner), len(owner)))
    return np.asarray(connected_components(graph, directed=False)[1], np.int64)


def _filled(
    family: NDArray[np.int64], goals: NDArray[np.int64], title: NDArray[np.uint64], test: int, dev: int
) -> NDArray[np.int64]:
    """int64 [S], 0 test, 1 dev, 2 train: whole families, in the order of a hash, fill one part after the other."""
    first = np.full(int(family.max()) + 1, np.iinfo(np.uint64).max, np.uint64)  # [families] smallest title hash
    np.minimum.at(first, family, title)
    order = np.argsort(first, kind="stable")
    before = np.concatenate([[0], np.cumsum(np.bincount(family, goals)[order])[:-1]])  # goals of earlier families
    tested = before < test
    start = before[~tested][0] if not tested.all() else 0
    part = np.empty(len(first), np.int64)
    part[order] = np.where(tested, 0, np.where(before < start + dev, 1, 2))
    return part[family]


def _drawn_in_order(
    catalogue: Catalogue, requests: NDArray[np.int64], seed: int | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Prices [N] and caps [S], one generator for all."""
    generator = random.Random(seed)
    prices = np.array(catalogue.columns["low"], np.float64)
    high = catalogue.columns["high"]
    for index in np.flatnonzero(prices != high):
        prices[index] = generator.uniform(float(prices[index]), float(high[index]))
    caps = np.full(len(requests), NO_CAP)
    for place, owner in enumerate(catalogue.columns["request_product"][requests]):
        above = _above(float(prices[owner]))
        if len(above) >= 2:
            caps[place] = max(generator.sample(above, 2))
    return prices, caps


def _drawn_by_content(
    catalogue: Catalogue, requests: NDArray[np.int64], seed: int | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Prices [N] and caps [S], each from a hash of the seed, the title and the wording."""
    prices = np.array(catalogue.columns["low"], np.float64)
    high, titles = catalogue.columns["high"], catalogue.columns["title_hash"]
    for index in np.flatnonzero(prices != high):
        share = _hashed(seed, titles[index], 0) / 2**64
        prices[index] += share * (high[index] - prices[index])
    caps = np.full(len(requests), NO_CAP)
    owners, wordings = catalogue.columns["request_product"][requests], catalogue.columns["request_hash"][requests]
    for place, (owner, wording) in enumerate(zip(owners, wordings, strict=True)):
        pairs = list(itertools.combinations(_above(float(prices[owner])), 2))
        if pairs:
            caps[place] = pairs[_hashed(seed, titles[owner], wording) % len(pairs)][1]
    return prices, caps


def _above(price: float) -> list[float]:
    """The first four multiples of ten above a price."""
    start = max(0, int(price // 10))
    return [each for each in _PRICES[start : start + 5] if each > price][:4]


def _hashed(seed: int | None, title: np.uint64, wording: np.uint64 | int) -> int:
    digest = hashlib.blake2b(f"{seed}:{title}:{wording}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def _mix(content: NDArray[np.uint64], number: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Scrambled 64 bits of both (the finalizer of SplitMix64)."""
    mixed = content + number.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return np.asarray(mixed ^ (mixed >> np.uint64(31)), np.uint64)


def _combination(options: dict[str, tuple[str, ...]], number: int) -> tuple[tuple[str, str], ...]:
    """The option names in alphabetical order, each with its value in this combination; the last name turns fastest."""
    chosen: list[tuple[str, str]] = []
    for name in sorted(options, reverse=True):
        number, place = divmod(number, len(options[name]))
        chosen.append((name, options[name][place]))
    return tuple(reversed(chosen))
