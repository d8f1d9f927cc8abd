"""Messages between a pool of sandboxes and those who use it: a JSON header and raw bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from agentrl import Command, DataError

LARGEST_MESSAGE = 2**30


def pack_message(header: Mapping[str, Any], payload: bytes = b"") -> bytes:
    """One message.

    >>> unpack_message(pack_message({"do": "put"}, b"data"))
    ({'do': 'put'}, b'data')
    """
    text = json.dumps(header).encode()
    return len(text).to_bytes(4, "big") + text + payload


def unpack_message(message: bytes | str) -> tuple[dict[str, Any], bytes]:
    """Header and payload. Raises DataError for what `pack_message` did not write."""
    if isinstance(message, str) or len(message) < 4:
        raise DataError("a message of a pool is binary, with the length of its header in front")
    end = 4 + int.from_bytes(message[:4], "big")
    try:
        header = json.loads(message[4:end])
    except ValueError as error:
        raise DataError(f"the header of a pool's message is no JSON: {error}") from error
    if not isinstance(header, dict) or end > len(message):
        raise DataError("the header of a pool's message is not an object")
    return header, message[end:]


def split_files(index: list[list[Any]], payload: bytes) -> dict[str, bytes]:
    """Files from [[path, size], …] and their contents, one after the other. Raises DataError where they disagree."""
    if sum(int(size) for _, size in index) != len(payload):
        raise DataError("the files of a pool's message do not have the sizes that it names")
    files, at = {}, 0
    for path, size in index:
        files[str(path)] = payload[at : at + size]
        at += size
    return files


def index_of(files: Mapping[str, bytes]) -> list[list[Any]]:
    """What `split_files` takes."""
    return [[path, len(data)] for path, data in files.items()]


def command_data(command: Command) -> dict[str, Any]:
    """JSON-able, but for the standard input, which crosses as payload."""
    return {
        "argv": list(command.argv), "cwd": command.cwd, "env": dict(command.env), "timeout_s": command.timeout_s,
        "snippet": command.snippet,
    }  # fmt: skip


def read_command(data: Mapping[str, Any], stdin: bytes) -> Command:
    """What `command_data` wrote. Raises DataError for anything else."""
    try:
        return Command(**{**data, "argv": tuple(data["argv"]), "stdin": stdin})
    except (KeyError, TypeError) as error:
        raise DataError(f"this is no command: {type(error).__name__}: {error}") from error
