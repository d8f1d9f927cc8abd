"""How a run ended, in the words of the contract, from what its supervisor knows."""

from __future__ import annotations

import os
from typing import NamedTuple

from agentrl_sandboxes.inside.messages import Ending, Status
from agentrl_sandboxes.inside.usage import LimitHits


class Evidence(NamedTuple):
    """Everything a supervisor knows about a run."""

    reason: str  # "exited", "answered", "timeout", "cpu", "output_cut", "out_of_memory", "too_many_processes"
    status: int | None  # of waitpid; None while it lives
    answer: int | None  # exit code of a session's call
    before: LimitHits
    after: LimitHits
    killed: int
    peak_kib: int
    wall_s: float
    cpu_s: float
    near_memory_limit: bool


def describe(evidence: Evidence, kept: list[tuple[memoryview, memoryview, int]]) -> Ending:
    """What is reported of a run; `kept` are head, tail and total of each output stream."""
    status, detail = _status(evidence)
    code, number = evidence.answer if evidence.status is None else None, None
    if evidence.status is not None and os.WIFEXITED(evidence.status):
        code = os.WEXITSTATUS(evidence.status)
    elif evidence.status is not None:
        number = os.WTERMSIG(evidence.status)
        status = "signalled" if status == "exited" else status
    return {
        "status": status, "reason": detail, "exit_code": code, "signal": number, "killed": evidence.killed,
        "wall_s": evidence.wall_s, "cpu_s": evidence.cpu_s, "memory_kib": evidence.peak_kib,
        "alive": evidence.status is None, "streams": [(len(head), len(tail), total) for head, tail, total in kept],
    }  # fmt: skip


def _status(evidence: Evidence) -> tuple[Status, str]:
    reason, before, after = evidence.reason, evidence.before, evidence.after
    if reason == "cpu":
        return "timeout", "the limit on CPU time"
    if reason == "timeout":
        return "timeout", "the limit on wall-clock time"
    if reason == "output_cut":
        return "output_cut", ""
    if reason == "out_of_memory" or after.out_of_memory > before.out_of_memory:
        return "out_of_memory", ""
    if reason == "too_many_processes" or after.too_many_processes > before.too_many_processes:
        return "too_many_processes", ""
    if evidence.status and evidence.near_memory_limit:
        return "out_of_memory", "it failed close to the limit on memory"
    return "exited", ""
