"""Slot table: which dialogue sits in which slot, its tokens so far, and what the completion being made consists of."""

from __future__ import annotations

import heapq
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from agentrl import Floats, Ids

Ints = NDArray[np.int64]


class Asked(Protocol):
    """A completion to make."""

    key: str
    prompt: Ids
    uniforms: Floats
    stop: tuple[str, ...]


class SlotTable:
    """Arrays with one row per slot, so that a step touches all live rows at once.

    A slot is free, resting (it keeps a dialogue between two turns) or live (a request is being answered in it).
    `length` counts the known tokens, `cached` those whose keys and values are computed: the last sampled one never is.
    """

    def __init__(self, slots: int, max_context: int, max_tokens: int) -> None:
        self.tokens = np.zeros((slots, max_context), np.int32)
        self.length, self.cached, self.prompt, self.limit, self.since = (np.zeros(slots, np.int64) for _ in range(5))
        self.live, self.watched = np.zeros(slots, np.bool_), np.zeros(slots, np.bool_)
        self.uniforms = np.zeros((slots, max_tokens), np.float64)
        self.logprobs, self.entropy, self.squares = (np.zeros((slots, max_tokens), np.float32) for _ in range(3))
        self.versions = np.zeros((slots, max_tokens), np.int32)
        self.request: list[Any] = [None] * slots
        self.live_count = 0
        self._slot_of: dict[str, int] = {}
        self._free = list(range(slots))  # a heap: low slots first, so that the live ones lie together
        self._clock = 0

    def of(self, key: str) -> int | None:
        """The slot of a dialogue, if it has one."""
        return self._slot_of.get(key)

    def take(self, key: str, evict: bool) -> int | None:
        """A slot for a new dialogue: a free one or, with `evict`, the one that has rested longest."""
        if not self._free and evict:
            resting = [(int(self.since[slot]), owner) for owner, slot in self._slot_of.items() if not self.live[slot]]
            if resting:
                self.release(min(resting)[1])
        if not self._free:
            return None
        slot = self._slot_of[key] = heapq.heappop(self._free)
        self.length[slot] = self.cached[slot] = 0
        return slot

    def start(self, slot: int, request: Asked) -> tuple[int, int]:
        """Make a slot live; how many of the prompt's tokens it held already, and how many are new to it."""
        size = len(request.prompt)
        known = _common(self.tokens[slot, : self.length[slot]], request.prompt)
        self.tokens[slot, known:size] = request.prompt[known:]
        self.cached[slot] = min(self.cached[slot], known, size - 1)  # the last token's logits are needed in any case
        self.length[slot] = self.prompt[slot] = size
        self.limit[slot] = size + len(request.uniforms)
        self.uniforms[slot, : len(request.uniforms)] = request.uniforms
        self.watched[slot] = bool(request.stop)
        self.live[slot], self.request[slot] = True, request
        self._clock += 1
        self.since[slot] = self._clock
        self.live_count += 1
        return known, size - known

    def append(
        self, rows: Ints, at: Ints, tokens: Floats, logprobs: Floats, entropy: Floats, squares: Floats, version: int
    ) -> None:
        """One sampled token for each of `rows`, the `at`-th of its completion."""
        self.tokens[rows, self.length[rows]] = tokens
        self.logprobs[rows, at], self.entropy[rows, at], self.squares[rows, at] = logprobs, entropy, squares
        self.versions[rows, at] = version
        self.length[rows] += 1

    def said(self, slot: int) -> Ids:
        """The completion so far, a view."""
        return self.tokens[slot, self.prompt[slot] : self.length[slot]]

    def requests(self) -> list[Any]:
        """Those being answered."""
        return [request for request in self.request if request is not None]

    def stop(self, request: Asked) -> None:
        """The request is answered or given up; its slot rests and keeps what it holds."""
        slot = self._slot_of.get(request.key)
        if slot is not None and self.request[slot] is request:
            self.live[slot], self.request[slot] = False, None
            self.live_count -= 1

    def release(self, key: str) -> None:
        """Free the slot of a dialogue; unknown keys are fine."""
        slot = self._slot_of.get(key)
        if slot is None:
            return
        if self.request[slot] is not None:
            self.stop(self.request[slot])
        del self._slot_of[key]
        heapq.heappush(self._free, slot)

    def release_all(self) -> None:
        """Free every slot."""
        for key in list(self._slot_of):
            self.release(key)


def _common(held: Ids, prompt: Ids) -> int:
    """Length of the longest common prefix."""
    size = min(len(held), len(prompt))
    if np.array_equal(held[:size], prompt[:size]):
        return size
    return int(np.argmax(held[:size] != prompt[:size]))
