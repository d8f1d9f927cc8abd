"""Seeds: 63-bit numbers that are the same in every process."""

from __future__ import annotations

import hashlib

_MASK = 2**63 - 1


def seed_of(*parts: int | str) -> int:
    """A seed from numbers and names.

    >>> seed_of(1, "draw", 2) == seed_of(1, "draw", 2) != seed_of(2, "draw", 1)
    True
    """
    text = "/".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def turn_seed(seed: int, turns: int) -> int:
    """The seed of the turn that comes after so many others, from that of its trajectory."""
    return (seed + 0x9E3779B97F4A7C15 * (turns + 1)) & _MASK
