"""What the processes of a supervisor use: read from /proc, and from the counters of control groups where there are any."""

from __future__ import annotations

import os
import re
import resource
from collections.abc import Collection
from typing import NamedTuple

_TICK = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Usage(NamedTuple):
    """What all processes of a supervisor use together now."""

    cpu_s: float
    memory_bytes: int
    processes: int


class LimitHits(NamedTuple):
    """How often a control group enforced its limits; -1 where nobody counts."""

    out_of_memory: int
    too_many_processes: int


def now() -> Usage:
    """CPU time of everything that lives or was reaped here, resident memory and number of what lives here."""
    ticks = pages = processes = 0
    for fields in _stats().values():
        ticks += sum(int(field) for field in fields[11:15])
        pages += int(fields[21])
        processes += int(fields[17])  # threads are tasks too
    return Usage(ticks / _TICK + reaped_cpu_s(), pages * _PAGE, processes)


def memory_bytes() -> int:
    """Memory of all processes, what they share counted once: exact, and slower than the sum in `now`."""
    total = 0
    for pid in processes():
        try:
            with open(f"/proc/{pid}/smaps_rollup", "rb") as file:
                pss = re.search(rb"^Pss:\s+(\d+) kB", file.read(), re.MULTILINE)
        except OSError:
            continue  # it ended just now, or hides its memory; then the limit per process has to do
        total += int(pss[1]) * 1024 if pss else 0
    return total


def orphans(supervisors: Collection[int]) -> list[int]:
    """For the first process of a pid namespace: everything that is neither one of these supervisors nor below one."""
    stats = _stats()
    return [
        pid
        for pid in stats
        if pid not in supervisors and not any(pid in _below(supervisor, stats) for supervisor in supervisors)
    ]


def reaped_cpu_s() -> float:
    """CPU time of all processes below this supervisor that have ended so far."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def processes() -> list[int]:
    """Ids of all processes below this supervisor."""
    if os.getpid() != 1:
        return list(_stats())
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and name != "1"]


def _stats() -> dict[int, list[bytes]]:
    """What /proc says of each process below this supervisor: all but the first one, or all that descend from this one."""
    stats: dict[int, list[bytes]] = {}
    for name in os.listdir("/proc"):
        if not name.isdigit() or name == "1":
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                stats[int(name)] = file.read().rpartition(b")")[2].split()
        except OSError:
            continue  # it ended just now
    return stats if os.getpid() == 1 else {pid: stats[pid] for pid in _below(os.getpid(), stats)}


def _below(ancestor: int, stats: dict[int, list[bytes]]) -> set[int]:
    children: dict[int, list[int]] = {}
    for pid, fields in stats.items():
        children.setdefault(int(fields[1]), []).append(pid)
    descendants: set[int] = set()
    ahead = [ancestor]
    while ahead:
        more = set(children.get(ahead.pop(), ())) - descendants
        descendants |= more
        ahead += more
    return descendants


def limit_hits(memory_fd: int, pids_fd: int) -> LimitHits:
    """Read the event files that the worker opened; -1 stands for a file that is not there."""
    return parse_hits(raw_hits(memory_fd, pids_fd))


def raw_hits(memory_fd: int, pids_fd: int) -> bytes:
    """What the files say, for a process that has to do as little as it can."""
    memory = os.pread(memory_fd, 4096, 0) if memory_fd >= 0 else b""
    return memory + b"\0" + (os.pread(pids_fd, 4096, 0) if pids_fd >= 0 else b"")


def parse_hits(raw: bytes) -> LimitHits:
    """What that means."""
    memory, _, pids = raw.partition(b"\0")
    return LimitHits(_counter(memory, rb"oom_kill (\d+)"), _counter(pids, rb"max (\d+)"))


def _counter(text: bytes, pattern: bytes) -> int:
    match: re.Match[bytes] | None = re.search(pattern, text)
    return int(match[1]) if match else -1
