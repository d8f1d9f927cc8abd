"""What a cell is told about a job, and what it reports of it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from agentrl import ExecResult, ExecUsage, OutputStream, SandboxLimits

PRELOAD = (
    "bisect", "collections", "copy", "datetime", "functools", "heapq", "io", "itertools", "json", "math", "operator",
    "random", "re", "string", "time", "typing",
)  # fmt: skip
"""What a warm interpreter has imported already: each module more makes every fork a little slower."""

_PATH = "/opt/agentrl/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def job_limits(limits: SandboxLimits, timeout_s: float | None) -> dict[str, Any]:
    """What a cell enforces for one job."""
    keep = int(limits.output_kib * 1024)
    return {
        "wall_s": min(timeout_s, limits.wall_s) if timeout_s is not None else limits.wall_s,
        "cpu_s": limits.cpu_s,
        "memory_bytes": int(limits.memory_mib * 2**20),
        "pids": int(limits.pids),
        "pids_slack": 8,  # the supervisors have the same uid
        "file_bytes": int(limits.file_mib * 2**20),
        "head": keep - keep // 2,
        "tail": keep // 2,
        "flood_bytes": int(limits.flood_mib * 2**20),
    }


def environment(python: str, *layers: Mapping[str, str]) -> dict[str, str]:
    """Environment variables of a program: nothing of this process's own."""
    found = {
        "PATH": _PATH if python.startswith("/usr/bin/") else f"{os.path.dirname(python)}:{_PATH}",
        "HOME": "/home/agent",
        "USER": "agent",
        "LANG": "C.UTF-8",
        "TERM": "dumb",
    }
    for layer in layers:
        found.update(layer)
    return found


def read_result(header: Mapping[str, Any], data: bytes) -> ExecResult:
    """An ExecResult from what a cell reports."""
    streams, at = [], 0
    for head, tail, total in header["streams"]:
        streams.append(OutputStream(data[at : at + head], data[at + head : at + head + tail], total))
        at += head + tail
    usage = ExecUsage(header["wall_s"], header["cpu_s"], header["memory_kib"] / 1024)
    return ExecResult(
        header["status"], header["exit_code"], header["signal"], streams[0], streams[1], usage,
        header["killed"], header["reason"],
    )  # fmt: skip
