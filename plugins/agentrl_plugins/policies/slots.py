"""Slots: keys and values of many sequences, and the attention of one step over them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import scaled_dot_product_attention

from agentrl_plugins.models.ragged import CausalRows, buckets

Ints = NDArray[np.int64]
_ALIGN = 16  # attended lengths are rounded up to this, so that a row's sums do not depend on its neighbours' lengths


class SlotCache:
    """Per layer, keys and values [S, H_kv, M, D]: one slot per sequence, grown as needed, never shrunk but by clear.

    Values may have another width D than keys.
    """

    def __init__(self, max_slots: int, max_length: int) -> None:
        self._max_slots, self._max_length = max_slots, max_length
        self.clear()

    def clear(self) -> None:
        """Free the memory."""
        self.slots, self.length = 0, 0
        self._layers: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def reserve(self, slots: int, length: int) -> None:
        """Make room for `slots` sequences of `length` tokens; what is stored stays."""
        if slots <= self.slots and length <= self.length:
            return
        self.slots = max(self.slots, min(self._max_slots, _next_power(slots)))
        self.length = max(self.length, min(-(-self._max_length // _ALIGN) * _ALIGN, _next_power(length, 256)))
        for layer, (keys, values) in self._layers.items():
            self._layers[layer] = (self._grown(keys), self._grown(values))

    def layer(self, index: int, key: torch.Tensor, value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values of a layer; made on first use for heads as in `key` and `value` [N, H_kv, D]."""
        if index not in self._layers:
            self._layers[index] = (self._cells(key), self._cells(value))
        return self._layers[index]

    def _cells(self, like: torch.Tensor) -> torch.Tensor:
        return like.new_zeros((self.slots, like.shape[1], self.length, like.shape[2]))  # masked ones must be finite

    def _grown(self, old: torch.Tensor) -> torch.Tensor:
        new = old.new_zeros((self.slots, old.shape[1], self.length, old.shape[3]))
        new[: old.shape[0], :, : old.shape[2]] = old
        return new


@dataclass(frozen=True, eq=False)
class Prefill:
    """The next `count` tokens of one slot, from position `start`."""

    slot: int
    start: int
    count: int


class SlotPlan:
    """Plan of one engine step over flat tokens: one per decoding slot, then the prefills, then dummies nobody reads.

    Every token is written into its slot, then attends to all that the slot holds up to it.
    """

    def __init__(
        self, cache: SlotCache, decoding: Ints, positions: Ints, prefills: Sequence[Prefill], like: torch.Tensor
    ) -> None:
        """`decoding` int64 [A]: slots in ascending order that take one token, at `positions` [A].

        Prefills in the order of `flat_order`. `like` gives device and dtype of the attention.
        """
        self._cache, self._device, self._count = cache, like.device, len(decoding)
        fresh = [prefill.count for prefill in prefills if prefill.start == 0]
        begin = self._count + sum(fresh)
        self.slots = np.concatenate([decoding, *(np.full(prefill.count, prefill.slot) for prefill in prefills)])
        self.positions = np.concatenate(
            [positions, *(np.arange(prefill.start, prefill.start + prefill.count) for prefill in prefills)]
        )
        self.longest = int(self.positions.max(initial=0)) + 1
        self._decode = _Decode.of(decoding, positions, like) if self._count else None
        self._fresh = CausalRows.of(fresh, like.device) if fresh else None
        self._fresh_span = slice(self._count, begin)
        self._continued = _continued_groups(prefills[len(fresh) :], begin, like)
        self._cells: torch.Tensor | None = None

    def attend(
        self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float, dropout: float
    ) -> torch.Tensor:
        keys, values = self._cache.layer(layer, key, value)
        real = len(self.slots)
        cells = self._written_cells(key.shape[1])
        keys.view(-1, keys.shape[-1]).index_copy_(0, cells, key[:real].reshape(-1, key.shape[-1]))
        values.view(-1, values.shape[-1]).index_copy_(0, cells, value[:real].reshape(-1, value.shape[-1]))
        parts: list[torch.Tensor] = []
        if self._decode is not None:
            parts.append(self._decode.attend(query[: self._count], keys, values, scale))
        if self._fresh is not None:
            span = self._fresh_span
            parts.append(self._fresh.attend(layer, query[span], key[span], value[span], scale, dropout))
        parts += [group.attend(query, keys, values, scale) for group in self._continued]
        if len(query) > real:
            parts.append(query.new_zeros(len(query) - real, query.shape[1], value.shape[2]))
        return torch.cat(parts) if len(parts) > 1 else parts[0]

    def _written_cells(self, heads: int) -> torch.Tensor:
        if self._cells is None:
            cells = (self.slots[:, None] * heads + np.arange(heads)) * self._cache.length + self.positions[:, None]
            self._cells = torch.from_numpy(cells.ravel()).to(self._device)
        return self._cells


def flat_order(prefills: Sequence[Prefill]) -> list[Prefill]:
    """The order a plan wants: those from position 0 first, then the others, longest first."""
    return sorted(prefills, key=lambda prefill: (prefill.start > 0, -prefill.count if prefill.start else 0))


@dataclass(frozen=True, eq=False)
class _Decode:
    """One query per slot, over contiguous slots without a copy (or over gathered ones where few are live)."""

    slots: torch.Tensor  # int64 [A]
    span: int  # the slots looked at are the first so many; 0: `slots` are gathered
    mask: torch.Tensor  # [S or A, 1, 1, L], 0 or -inf

    @classmethod
    def of(cls, slots: Ints, positions: Ints, like: torch.Tensor) -> _Decode:
        span = int(slots[-1]) + 1
        if 2 * len(slots) < span:
            span, last = 0, positions
        else:
            last = np.zeros(span, np.int64)  # slots that rest look at their first cell, and nobody reads it
            last[slots] = positions
        mask = _mask(torch.from_numpy(last).to(like.device), int(positions.max()), like)
        return cls(torch.from_numpy(slots).to(like.device), span, mask[:, None, None])

    def attend(self, query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, scale: float) -> torch.Tensor:
        count, heads, depth = query.shape
        shared, width = keys.shape[1], self.mask.shape[-1]
        asked = query.reshape(count, shared, heads // shared, depth)  # heads that share keys become queries
        if self.span:
            keys, values = keys[: self.span, :, :width], values[: self.span, :, :width]
            if count < self.span:
                asked = asked.new_zeros((self.span, *asked.shape[1:])).index_copy_(0, self.slots, asked)
        else:
            keys = keys[:, :, :width].index_select(0, self.slots)
            values = values[:, :, :width].index_select(0, self.slots)
        out = scaled_dot_product_attention(asked, keys, values, attn_mask=self.mask, scale=scale)
        if count < len(out):
            out = out.index_select(0, self.slots)
        return out.reshape(count, heads, values.shape[-1])


@dataclass(frozen=True, eq=False)
class _Continued:
    """Several new tokens for each of several slots that hold a past, in rows padded on the right."""

    slots: torch.Tensor  # int64 [R]
    index: torch.Tensor  # int64 [R, Q], flat index of every query, the row's first where padded
    inverse: torch.Tensor  # int64 [n], cells of the real queries, in flat order
    mask: torch.Tensor  # [R, 1, Q, L], 0 or -inf

    def attend(self, query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, scale: float) -> torch.Tensor:
        width = self.mask.shape[-1]
        out = scaled_dot_product_attention(
            query[self.index].transpose(1, 2),  # [R, H, Q, D]
            keys[:, :, :width].index_select(0, self.slots),
            values[:, :, :width].index_select(0, self.slots),
            attn_mask=self.mask,
            scale=scale,
            enable_gqa=query.shape[1] != keys.shape[1],
        )
        return out.transpose(1, 2).flatten(0, 1)[self.inverse]


def _continued_groups(prefills: Sequence[Prefill], begin: int, like: torch.Tensor) -> list[_Continued]:
    groups: list[_Continued] = []
    counts = np.array([prefill.count for prefill in prefills], np.int64)
    for members in buckets(counts, shortest=0.3):
        sizes = counts[members]
        past = np.array([prefills[i].start for i in members])
        starts = begin + np.cumsum(sizes) - sizes
        begin += int(sizes.sum())
        steps = np.arange(sizes.max())
        real = steps < sizes[:, None]
        arrays = (
            np.array([prefills[i].slot for i in members]),
            np.where(real, starts[:, None] + steps, starts[:, None]),
            np.flatnonzero(real),
            past[:, None] + steps,
        )
        slots, index, inverse, last = (torch.from_numpy(array).to(like.device) for array in arrays)
        groups.append(_Continued(slots, index, inverse, _mask(last, int((past + sizes).max()) - 1, like)[:, None]))
    return groups


def _mask(last: torch.Tensor, furthest: int, like: torch.Tensor) -> torch.Tensor:
    """[…, L]: 0 up to position `last` […], -inf behind it; L is `furthest` + 1, rounded up."""
    width = -(-(furthest + 1) // _ALIGN) * _ALIGN
    hidden = torch.arange(width, device=like.device) > last[..., None]
    return torch.zeros(hidden.shape, dtype=like.dtype, device=like.device).masked_fill_(hidden, -torch.inf)


def _next_power(number: int, least: int = 8) -> int:
    return max(least, 1 << (number - 1).bit_length())
