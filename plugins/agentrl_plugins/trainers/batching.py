"""Batching: which rows make an optimiser step, which a forward pass, and how much each of their tokens weighs."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from agentrl import Floats, Row

Aggregation = Literal["token", "trajectory", "task"]
Scope = Literal["sampled", "all"]

_ATTENTION_TOKENS = 800  # a row this long spends about as much on attention as on all else, in a small model


def scored(row: Row, scope: Scope) -> NDArray[np.int64]:
    """Positions [K] that the loss sees: sampled tokens, or every token that has one before it."""
    return np.flatnonzero(row.sampled) if scope == "sampled" else np.arange(1, len(row.ids))


def token_weights(rows: Sequence[Row], aggregation: Aggregation, scope: Scope = "sampled") -> Floats:
    """float64 [R], the weight of each scored token of every row; over all tokens of all rows they sum to 1.

    `token`: every token weighs the same. `trajectory`: every trajectory does, whatever its length and number of rows.
    `task`: every group of trajectories does, and inside it every trajectory. Give a whole minibatch: cut into
    micro-batches afterwards, its gradient stays the same.
    """
    counts: Floats = np.array([len(scored(row, scope)) for row in rows], np.float64)
    if aggregation == "token":
        return np.full(len(rows), 1 / max(1.0, counts.sum()))
    tokens: Counter[int] = Counter()
    for row, count in zip(rows, counts, strict=True):
        tokens[row.trajectory] += count
    own: Floats = np.array([tokens[row.trajectory] for row in rows])
    if aggregation == "trajectory":
        return 1 / (len(tokens) * own)
    members: dict[str, set[int]] = {}
    for row in rows:
        members.setdefault(row.group, set()).add(row.trajectory)
    return 1 / (len(members) * np.array([len(members[row.group]) for row in rows]) * own)


def minibatches(
    rows: Sequence[Row], aggregation: Aggregation, random: np.random.Generator, *, count: int, tokens: int | None
) -> list[list[int]]:
    """Positions of the rows of each optimiser step, shuffled: `count` steps, or steps of about `tokens` row tokens.

    What the aggregation averages over is never cut in two: rows stay with their trajectory or group if it is one.
    """
    units: dict[object, list[int]] = {}
    for position, row in enumerate(rows):
        keys = {"token": position, "trajectory": row.trajectory, "task": row.group}
        units.setdefault(keys[aggregation], []).append(position)
    members = list(units.values())
    members = [members[i] for i in random.permutation(len(members))]
    sizes = np.array([sum(len(rows[i].ids) for i in unit) for unit in members], np.float64)
    parts = count if tokens is None else max(1, round(float(sizes.sum()) / tokens))
    part = _even(sizes, parts)
    return [[i for unit in np.flatnonzero(part == number) for i in members[unit]] for number in np.unique(part)]


def microbatches(rows: Sequence[Row], budget: int) -> list[list[int]]:
    """Positions of the rows of each forward pass: at most `budget` tokens (or one row), with one sampling.

    The passes of one sampling cost about the same, so that workers finish together.
    """
    found: list[list[int]] = []
    for sampling in dict.fromkeys(row.sampling for row in rows):
        own = [i for i, row in enumerate(rows) if row.sampling == sampling]
        lengths = [len(rows[i].ids) for i in own]
        parts = -(-sum(lengths) // budget)
        while (dealt := _deal(lengths, parts, budget)) is None:
            parts += 1 + parts // 16
        found += [[own[i] for i in part] for part in dealt]
    return found


def _deal(lengths: Sequence[int], parts: int, budget: int) -> list[list[int]] | None:
    """Longest first, each to the part with the least work so far; None where a part would go over the budget."""
    dealt: list[list[int]] = [[] for _ in range(parts)]
    tokens = [0] * parts
    work = [(0, part) for part in range(parts)]  # a heap
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        done, part = heapq.heappop(work)
        if dealt[part] and tokens[part] + lengths[i] > budget:
            return None
        dealt[part].append(i)
        tokens[part] += lengths[i]
        heapq.heappush(work, (done + lengths[i] * (lengths[i] + _ATTENTION_TOKENS), part))
    return [part for part in dealt if part]


def _even(sizes: Floats, parts: int) -> NDArray[np.int64]:
    """The part (below `parts`) of each, neighbours together, so that the sums of their sizes are about the same."""
    middles = np.cumsum(sizes) - sizes / 2
    part: NDArray[np.int64] = np.floor(middles / sizes.sum() * parts).astype(np.int64)
    return part
