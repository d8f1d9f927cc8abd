"""Frames on a stream socket: a JSON header and raw bytes, each with its length in front."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Iterator, Mapping
from typing import Any

_LENGTHS = struct.Struct(">II")
MAX_HEADER = 16 * 2**20


def pack(header: Mapping[str, object], payload_length: int = 0) -> bytes:
    """The bytes of a frame, up to its payload."""
    text = json.dumps(header).encode()
    return _LENGTHS.pack(len(text), payload_length) + text


def send(sock: socket.socket, header: Mapping[str, object], *payload: bytes | memoryview) -> None:
    """Write one frame; raises OSError when nobody listens any more."""
    sock.sendall(pack(header, sum(len(part) for part in payload)))
    for part in payload:
        if part:
            sock.sendall(part)


def receive(sock: socket.socket, max_payload: int = 2**32) -> tuple[Any, bytes] | None:
    """Read one frame, a JSON object and its payload; None when the other side has closed.

    Raises ValueError for a frame that is no frame: what comes out of a sandbox is never trusted to be well-formed.
    """
    lengths = _exactly(sock, _LENGTHS.size)
    if lengths is None:
        return None
    header_length, payload_length = _LENGTHS.unpack(lengths)
    if header_length > MAX_HEADER or payload_length > max_payload:
        raise ValueError(f"frame of {header_length} + {payload_length} bytes is longer than allowed")
    text = _exactly(sock, header_length)
    payload = _exactly(sock, payload_length) if payload_length else b""
    if text is None or payload is None:
        return None
    header = json.loads(text)
    if not isinstance(header, dict):
        raise ValueError("the header of a frame must be an object")
    return header, payload


def split(data: bytes) -> Iterator[tuple[Any, bytes]]:
    """Whole frames out of bytes that were written to something else than a socket; raises ValueError as above."""
    start = 0
    while start + _LENGTHS.size <= len(data):
        header_length, payload_length = _LENGTHS.unpack_from(data, start)
        middle = start + _LENGTHS.size + header_length
        header = json.loads(data[start + _LENGTHS.size : middle])
        if not isinstance(header, dict) or middle + payload_length > len(data):
            raise ValueError("this is no whole frame")
        start = middle + payload_length
        yield header, data[middle:start]


def _exactly(sock: socket.socket, length: int) -> bytes | None:
    chunks = []
    while length:
        chunk = sock.recv(min(length, 2**20))
        if not chunk:
            return None
        chunks.append(chunk)
        length -= len(chunk)
    return b"".join(chunks)
