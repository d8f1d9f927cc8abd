"""What a supervisor is told about a run, and what it reports of it."""

from __future__ import annotations

import os
from collections.abc import Mapping

from agentrl import ExecResult, ExecUsage, OutputStream, SandboxLimits
from agentrl_sandboxes.inside.messages import Ending, Limits

PRELOAD = (
    "bisect", "collections", "copy", "datetime", "functools", "heapq", "io", "itertools", "json", "math", "operator",
    "random", "re", "string", "time", "typing",
)  # fmt: skip
"""What a warm interpreter has imported already: each module more makes every fork a little slower."""

_PATH = "/opt/agentrl/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def enforced(limits: SandboxLimits, timeout_s: float | None = None) -> Limits:
    """What a supervisor enforces for one run; `timeout_s` can shorten its time."""
    keep = int(limits.output_kib * 1024)
    return {
        "wall_s": min(timeout_s, limits.wall_s) if timeout_s is not None else limits.wall_s,
        "cpu_s": limits.cpu_s,
        "memory_bytes": int(limits.memory_mib * 2**20),
        "pids": int(limits.pids),
        "pids_slack": 8,
        "file_bytes": int(limits.file_mib * 2**20),
        "head": keep - keep // 2,
        "tail": keep // 2,
        "flood_bytes": int(limits.flood_mib * 2**20),
    }


def environment(python: str, *layers: Mapping[str, str]) -> dict[str, str]:
    """Environment variables of a program: nothing of this process's own. Later layers win."""
    variables = {
        "PATH": _PATH if python.startswith("/usr/bin/") else f"{os.path.dirname(python)}:{_PATH}",
        "HOME": "/home/agent",
        "USER": "agent",
        "LANG": "C.UTF-8",
        "TERM": "dumb",
    }
    for layer in layers:
        variables.update(layer)
    return variables


def read_result(ending: Ending, data: bytes) -> ExecResult:
    """An ExecResult from what a supervisor reports; `data` are head and tail of both output streams."""
    streams, start = [], 0
    for head, tail, total in ending["streams"]:
        middle, end = start + head, start + head + tail
        streams.append(OutputStream(data[start:middle], data[middle:end], total))
        start = end
    return ExecResult(
        status=ending["status"],
        exit_code=ending["exit_code"],
        signal=ending["signal"],
        stdout=streams[0],
        stderr=streams[1],
        usage=ExecUsage(ending["wall_s"], ending["cpu_s"], ending["memory_kib"] / 1024),
        processes_killed=ending["killed"],
        reason=ending["reason"],
    )
