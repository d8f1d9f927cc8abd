"""Many channels on one byte stream: small frames with a kind, a channel and a length."""

from __future__ import annotations

import struct
from collections.abc import Iterator

OPEN, DATA, CLOSE, ACK, ASK, ANSWER = range(6)
"""New channel; bytes of one; its end; bytes that arrived, as a number; a request and its answer (JSON)."""

WINDOW = 2**18
"""Bytes that may be under way to a channel's end in the container, so that nothing piles up there."""

_HEAD = struct.Struct(">BII")
_LONGEST = 2**24


def pack(kind: int, channel: int = 0, data: bytes | memoryview = b"") -> bytes:
    """One frame."""
    return _HEAD.pack(kind, channel, len(data)) + bytes(data)


def pack_ack(channel: int, count: int) -> bytes:
    """The frame that allows `count` more bytes."""
    return pack(ACK, channel, count.to_bytes(4, "big"))


class Splitter:
    """Takes bytes as they come, gives whole frames."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[int, int, bytes]]:
        """(kind, channel, data) of each frame that is complete. Raises ValueError for what is no frame."""
        self._held += data
        while len(self._held) >= _HEAD.size:
            kind, channel, length = _HEAD.unpack_from(self._held)
            if kind > ANSWER or length > _LONGEST:
                raise ValueError(f"this is no frame: kind {kind}, {length} bytes")
            end = _HEAD.size + length
            if len(self._held) < end:
                return
            frame = kind, channel, bytes(self._held[_HEAD.size : end])
            del self._held[:end]
            yield frame
