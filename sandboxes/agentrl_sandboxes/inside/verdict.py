"""How a run ended, in the words of the contract, from what its supervisor saw."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

from agentrl_sandboxes.inside.watch import Counters


class Seen(NamedTuple):
    """Everything a supervisor knows about a run."""

    reason: str  # "exited", "answered", "timeout", "cpu", "output_cut", "out_of_memory", "too_many_processes"
    status: int | None  # of waitpid; None while it lives
    answer: int | None  # exit code of a session's call
    before: Counters
    after: Counters
    killed: int
    peak_kib: int
    wall_s: float
    cpu_s: float
    near_memory_limit: bool


def header(seen: Seen, kept: list[tuple[memoryview, memoryview, int]]) -> dict[str, Any]:
    """What is reported; the kept output follows as payload."""
    status, detail = _status(seen)
    code, number = seen.answer if seen.status is None else None, None
    if seen.status is not None and os.WIFEXITED(seen.status):
        code = os.WEXITSTATUS(seen.status)
    elif seen.status is not None:
        number = os.WTERMSIG(seen.status)
        status = "signalled" if status == "exited" else status
    return {
        "status": status, "reason": detail, "exit_code": code, "signal": number, "killed": seen.killed,
        "wall_s": seen.wall_s, "cpu_s": seen.cpu_s, "memory_kib": seen.peak_kib, "alive": seen.status is None,
        "streams": [[len(head), len(tail), total] for head, tail, total in kept],
    }  # fmt: skip


def _status(seen: Seen) -> tuple[str, str]:
    if seen.reason == "cpu":
        return "timeout", "the limit on CPU time"
    if seen.reason == "timeout":
        return "timeout", "the limit on wall-clock time"
    if seen.reason == "output_cut":
        return "output_cut", ""
    if seen.reason == "out_of_memory" or seen.after.out_of_memory > seen.before.out_of_memory:
        return "out_of_memory", ""
    if seen.reason == "too_many_processes" or seen.after.too_many_processes > seen.before.too_many_processes:
        return "too_many_processes", ""
    if seen.status and seen.near_memory_limit:
        return "out_of_memory", "it failed close to the limit on memory"
    return "exited", ""
