"""Labels of containers, by which a reaper can tell those that nobody needs any more."""

from __future__ import annotations

import functools
import os
from pathlib import Path

LABEL, OWNER, EXPIRES = "agentrl.sandbox", "agentrl.owner", "agentrl.expires"


@functools.cache
def owner() -> str:
    """Names this process so that a reaper on the same machine can tell whether it still lives."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot}/{os.readlink('/proc/self/ns/pid')}/{os.getpid()}/{_started(os.getpid())}"


def owner_is_gone(name: str) -> bool:
    """Whether the process that made a container has ended; False for one that cannot be seen from here."""
    here, there = owner().split("/"), name.split("/")
    if len(there) != 4 or there[:2] != here[:2] or not there[2].isdigit():
        return False
    return _started(int(there[2])) != there[3]


def _started(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[19]
    except OSError:
        return ""
