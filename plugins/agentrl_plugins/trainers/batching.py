"""Batching: which rows make an optimiser step, which a forward pass, and how much each of their tokens weighs."""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Collection, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from agentrl import Floats, Logprobs, Row, Trajectory

Aggregation = Literal["token", "trajectory", "task"]
Scope = Literal["sampled", "all"]
Unit = Literal["token", "row", "trajectory"]

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


def microbatches(rows: Sequence[Row], budget: int, unit: Unit = "token") -> list[list[int]]:
    """Positions of the rows of each forward pass: at most `budget` tokens (or one unit), with one sampling.

    Rows are never cut; `unit = "trajectory"` keeps the rows of a trajectory together. The passes of one sampling cost
    about the same, so that workers finish together.
    """
    passes: list[list[int]] = []
    for sampling in dict.fromkeys(row.sampling for row in rows):
        units: dict[int, list[int]] = {}
        for i, row in enumerate(rows):
            if row.sampling == sampling:
                units.setdefault(row.trajectory if unit == "trajectory" else i, []).append(i)
        own = list(units.values())
        lengths = [sum(len(rows[i].ids) for i in members) for members in own]
        parts = -(-sum(lengths) // budget)
        while (dealt := _deal(lengths, parts, budget)) is None:
            parts += 1 + parts // 16
        passes += [[i for number in part for i in own[number]] for part in dealt]
    return passes


def drawn_turns(rows: Sequence[Row], turns: int | None, random: np.random.Generator) -> list[Logprobs | None]:
    """Per row float32 [L]: T / k where a token's turn is among the k drawn of its trajectory's T turns, else 0.

    Tokens that nobody sampled count where a turn of their row is drawn, by 1 / (the chance of that). None for every
    row where `turns` is None. The sum over drawn turns estimates that over all of them without bias.
    """
    if turns is None:
        return [None] * len(rows)
    all_turns: dict[int, set[int]] = {}
    for row in rows:
        all_turns.setdefault(row.trajectory, set()).update(np.unique(row.turn[row.sampled]).tolist())
    factors: dict[int, dict[int, float]] = {}
    for trajectory, own in all_turns.items():
        count = min(turns, len(own))
        chosen = random.choice(sorted(own), count, replace=False).tolist()
        factors[trajectory] = dict.fromkeys(chosen, len(own) / count)
    shares: list[Logprobs | None] = []
    for row in rows:
        factor = factors[row.trajectory]
        share = np.array([factor.get(int(turn), 0.0) for turn in row.turn], np.float32)
        total, inside = len(all_turns[row.trajectory]), len(np.unique(row.turn[row.sampled]))
        missed = math.comb(total - inside, len(factor)) / math.comb(total, len(factor))
        shares.append(np.where(row.sampled, share, np.float32(1 / (1 - missed) if share.any() else 0.0)))
    return shares


def distinct_tokens(trajectory: Trajectory, speakers: Collection[str]) -> int:
    """Tokens that some speakers read and said, when what their prompts share with the ones before is counted once."""
    return sum(
        len(turn.completion.prompt_ids) - turn.kept + len(turn.completion.ids)
        for turn in trajectory.turns[trajectory.inherited :]
        if turn.agent in speakers
    )


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
