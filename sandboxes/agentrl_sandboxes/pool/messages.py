"""Messages between a pool of sandboxes and its clients: a JSON header and raw bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal, TypedDict

from agentrl import Command, DataError

LARGEST_MESSAGE = 2**30
TOKEN_VARIABLE = "AGENTRL_POOL_TOKEN"


class CommandData(TypedDict):
    """A command but for its standard input, which crosses as payload."""

    argv: list[str]
    cwd: str
    env: dict[str, str]
    timeout_s: float | None
    snippet: bool


class PoolRequest(TypedDict, total=False):
    """From a client. `do` names the operation, whose keys the others are."""

    id: int  # the answer has it too
    do: str
    sandbox: int
    spec: dict[str, Any]
    command: CommandData
    listens: bool  # whether output is to be sent as it comes
    of: int  # "ack" and "cancel": the run whose output it was
    files: list[tuple[str, int]]  # path, size; contents are the payload
    executable: list[str]
    paths: list[str]
    max_mib: float
    max_files: int
    snapshot: int
    snapshots: list[int]
    kind: Literal["python", "shell"]
    cwd: str
    env: dict[str, str]
    session: int
    timeout_s: float | None


class Handshake(TypedDict):
    """What a worker says first."""

    name: str
    abilities: list[str]
    profiles: list[str]
    worker: int  # its process id


class PoolAnswer(TypedDict, total=False):
    """From a worker: to a request, a piece of output, or its first word."""

    id: int
    handshake: Handshake
    error: str  # name of an error's class, with its message
    message: str
    chunk: Literal["stdout", "stderr"]
    sandbox: int
    result: dict[str, Any]
    files: list[tuple[str, int]]
    refused: dict[str, str]
    snapshot: int
    session: int
    grade: dict[str, Any]


def pack_message(header: Mapping[str, object], payload: bytes = b"") -> bytes:
    """One message.

    >>> unpack_message(pack_message({"do": "put"}, b"data"))
    ({'do': 'put'}, b'data')
    """
    text = json.dumps(header).encode()
    return len(text).to_bytes(4, "big") + text + payload


def unpack_message(message: bytes | str) -> tuple[Any, bytes]:
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


def split_files(index: list[tuple[str, int]], payload: bytes) -> dict[str, bytes]:
    """Files from [[path, size], …] and their contents, one after the other. Raises DataError where they disagree."""
    if sum(int(size) for _, size in index) != len(payload):
        raise DataError("the files of a pool's message do not have the sizes that it names")
    files, start = {}, 0
    for path, size in index:
        files[str(path)] = payload[start : start + size]
        start += size
    return files


def index_of(files: Mapping[str, bytes]) -> list[tuple[str, int]]:
    """What `split_files` takes."""
    return [(path, len(data)) for path, data in files.items()]


def command_data(command: Command) -> CommandData:
    """For the header of a message."""
    return {
        "argv": list(command.argv),
        "cwd": command.cwd,
        "env": dict(command.env),
        "timeout_s": command.timeout_s,
        "snippet": command.snippet,
    }


def read_command(data: CommandData, stdin: bytes) -> Command:
    """What `command_data` wrote. Raises DataError for anything else."""
    try:
        argv = tuple(data["argv"])
        return Command(argv, stdin, data["cwd"], data["env"], data["timeout_s"], data["snippet"])
    except (KeyError, TypeError) as error:
        raise DataError(f"this is no command: {type(error).__name__}: {error}") from error
