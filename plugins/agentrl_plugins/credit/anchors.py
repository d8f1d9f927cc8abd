"""Anchor groups: the turns of a group that were taken in what counts as the same state."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from difflib import SequenceMatcher
from itertools import count
from operator import attrgetter

import numpy as np
from numpy.typing import NDArray

import agentrl
from agentrl_plugins.credit.turns import Codes, FlatTurns


def anchor_groups(turns: FlatTurns, similarity: float | None = None) -> Codes:
    """int64 [N], a code per (group, anchor), without gaps. The anchor is `Turn.anchor`, taken before the action.

    None compares anchors exactly. A `similarity` in (0, 1] merges anchors of one group whose texts are at least that
    alike. A turn that does not count (inherited, spoken) has a code of its own. Raises ConfigError for another value.
    """
    number = count()
    codes: list[defaultdict[str, int]] = [
        defaultdict(number.__next__) for _ in range(int(turns.group.max(initial=-1)) + 1)
    ]
    found: list[int] = []
    for group, end, length in zip(turns.group.tolist(), turns.ends.tolist(), turns.lengths.tolist(), strict=True):
        found.extend(map(codes[group].__getitem__, map(attrgetter("anchor"), turns.turns[end - length : end])))
    exact = np.array(found, np.int64)
    if similarity is None:
        return _apart(exact, ~turns.counted)
    if not 0 < similarity <= 1:
        raise agentrl.ConfigError(f"similarity = {similarity}: a share of equal text in (0, 1], or none at all")
    merged = np.zeros(next(number), np.int64)
    for group_codes in codes:
        for anchor, first in merge_similar(group_codes, similarity).items():
            merged[group_codes[anchor]] = group_codes[first]
    return _apart(np.unique(merged[exact], return_inverse=True)[1].astype(np.int64), ~turns.counted)


def _apart(codes: Codes, alone: NDArray[np.bool_]) -> Codes:
    """The same codes, but for turns that are `alone`: each of those gets one that no other turn has."""
    if not alone.any():
        return codes
    own = np.where(alone, codes.max(initial=0) + 1 + np.arange(len(codes)), codes)
    return np.unique(own, return_inverse=True)[1].astype(np.int64)


def merge_similar(anchors: Iterable[str], similarity: float) -> dict[str, str]:
    """Anchor → the first of its cluster: greedy first fit by difflib's ratio, against the first of each cluster.

    Greedy clusters depend on the order in which anchors come, so they come sorted: then trajectories may come in any
    order. `autojunk` is off, for it misjudges texts of 200 characters and more.

    >>> merge_similar(["a red box", "a red fox", "the sea"], 0.8)
    {'a red box': 'a red box', 'a red fox': 'a red box', 'the sea': 'the sea'}
    """
    clusters: dict[str, str] = {}
    firsts: list[str] = []
    matcher = SequenceMatcher(autojunk=False)
    for anchor in sorted(set(anchors)):
        matcher.set_seq2(anchor)
        clusters[anchor] = next((first for first in firsts if _alike(matcher, first, similarity)), anchor)
        if clusters[anchor] is anchor:
            firsts.append(anchor)
    return clusters


def _alike(matcher: SequenceMatcher[str], first: str, similarity: float) -> bool:
    matcher.set_seq1(first)
    bounds = (matcher.real_quick_ratio, matcher.quick_ratio, matcher.ratio)  # cheap upper bounds before the real one
    return all(ratio() >= similarity for ratio in bounds)
