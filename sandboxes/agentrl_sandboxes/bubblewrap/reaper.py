"""Removes what processes left behind that were killed before they could clean up: control groups, folders, processes."""

from __future__ import annotations

import contextlib
import os
import re
import signal
from pathlib import Path

from agentrl_sandboxes.inside import cgroups

_FAMILY = re.compile(r"agentrl-(\d+)-(\d+)")
_FOLDERS = ("/run", "/dev/shm", "/tmp")


def reap() -> list[str]:
    """Remove everything of families whose launcher is gone; a line for each. What living processes use is not touched."""
    parents = cgroups.find_parents()
    lines = []
    for family in _families(parents):
        if _alive(family):
            continue
        killed = sum(_kill_members(os.path.join(parent.path, family)) for parent in parents.values())
        left = cgroups.remove_family(parents, family)
        for path in (Path(folder, family) for folder in state_folders()):
            try:
                path.rmdir()  # what was in it was mounted in a namespace that is gone
            except FileNotFoundError:
                continue
            except OSError as error:
                left.append(f"{path} ({error.strerror})")
        lines.append(f"{family}: {killed} processes killed, left: {', '.join(left) or 'nothing'}")
    return lines


def _families(parents: dict[str, cgroups.Parent]) -> list[str]:
    families = set()
    for folder in (*state_folders(), *(parent.path for parent in parents.values())):
        with contextlib.suppress(OSError):
            families |= {name for name in os.listdir(folder) if _FAMILY.fullmatch(name)}
    return sorted(families)


def state_folders() -> list[str]:
    """Where managers may have left a folder."""
    return [folder for folder in (*_FOLDERS, os.environ.get("XDG_RUNTIME_DIR", "")) if folder]


def _alive(family: str) -> bool:
    """Whether the launcher is still there: the same process id, started at the same time."""
    match = _FAMILY.fullmatch(family)
    if match is None:
        return True  # not ours
    try:
        with open(f"/proc/{match[1]}/stat") as file:
            return file.read().rpartition(")")[2].split()[19] == match[2]
    except OSError:
        return False


def _kill_members(path: str) -> int:
    killed = 0
    for pid in cgroups.members(path) if os.path.isdir(path) else []:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            killed += 1
    return killed
