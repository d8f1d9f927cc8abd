"""Control groups: where memory and processes of a sandbox are counted by the kernel, version 1 or 2."""

from __future__ import annotations

import contextlib
import os
import time
from typing import NamedTuple

_FILES = {
    ("v1", "memory"): ("memory.limit_in_bytes", "memory.oom_control"),
    ("v1", "pids"): ("pids.max", "pids.events"),
    ("v2", "memory"): ("memory.max", "memory.events"),
    ("v2", "pids"): ("pids.max", "pids.events"),
}


class Parent(NamedTuple):
    """A writable directory of one controller below which groups can be made."""

    version: str  # "v1" or "v2"
    controller: str  # "memory" or "pids"
    path: str


def find_parents() -> dict[str, Parent]:
    """For "memory" and "pids": where this process may make groups; a controller it may not use is left out."""
    parents: dict[str, Parent] = {}
    own = _own_groups()
    for version, controllers, root, mount_point in _mounts():
        if version == "v1":
            for controller in {"memory", "pids"} & controllers:
                path = _join(mount_point, root, own.get(controller, "/"))
                if os.access(path, os.W_OK):
                    parents[controller] = Parent("v1", controller, path)
            continue
        here = _join(mount_point, root, own.get("", "/"))
        for path in (here, os.path.dirname(here)):
            for controller in _offered(path) - set(parents):
                parents[controller] = Parent("v2", controller, path)
    return parents


class Group:
    """One group in each controller that is there."""

    def __init__(self, parents: dict[str, Parent], family: str, name: str) -> None:
        self.driver = {controller: parent.version for controller, parent in parents.items()}
        self._parents, self._family, self._name = parents, family, name
        self._paths: dict[str, str] = {}
        for controller, parent in parents.items():
            family_path = os.path.join(parent.path, family)
            if not os.path.isdir(family_path):
                os.mkdir(family_path)
                if parent.version == "v2":
                    _write(os.path.join(family_path, "cgroup.subtree_control"), "+memory +pids")
            self._paths[controller] = os.path.join(family_path, name)
            os.makedirs(self._paths[controller], exist_ok=True)

    def successor(self) -> Group:
        """A new one in the place of this one, which counts nothing yet."""
        name, _, number = self._name.partition(".")
        return Group(self._parents, self._family, f"{name}.{int(number or 0) + 1}")

    def remove(self) -> None:
        """Give it up; where something is in it still, that is left to the end of the family."""
        for path in set(self._paths.values()):
            with contextlib.suppress(OSError):
                os.rmdir(path)

    def attach(self, pid: int) -> None:
        """Move a process in; what it starts later is born here."""
        for path in set(self._paths.values()):
            _write(os.path.join(path, "cgroup.procs"), str(pid))

    def limit_memory(self, memory_bytes: int) -> None:
        """Set the limit; swap counts as memory where the kernel keeps account of it."""
        if "memory" not in self._paths:
            return
        version, path = self.driver["memory"], self._paths["memory"]
        v1 = version == "v1"
        swap = os.path.join(path, "memory.memsw.limit_in_bytes" if v1 else "memory.swap.max")
        _try_write(swap, "-1" if v1 else "0")
        _write(os.path.join(path, _FILES[version, "memory"][0]), str(memory_bytes))
        if v1:
            _try_write(swap, str(memory_bytes))

    def limit_pids(self, pids: int) -> None:
        """Set the limit on processes and threads."""
        if "pids" in self._paths:
            _write(os.path.join(self._paths["pids"], "pids.max"), str(pids))

    def open_events(self, controller: str) -> int:
        """A descriptor of the file that counts how often a limit was hit; -1 where there is none."""
        if controller not in self._paths:
            return -1
        name = _FILES[self.driver[controller], controller][1]
        try:
            return os.open(os.path.join(self._paths[controller], name), os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return -1


def remove_family(parents: dict[str, Parent], family: str, patience_s: float = 5.0) -> list[str]:
    """Remove a family of groups with everything below; what could not be removed in time is returned."""
    left = []
    for path in {os.path.join(parent.path, family) for parent in parents.values()}:
        until = time.monotonic() + patience_s
        while os.path.isdir(path) and not _remove(path) and time.monotonic() < until:
            time.sleep(0.01)
        if os.path.isdir(path):
            left.append(path)
    return left


def members(path: str) -> list[int]:
    """Processes of a group and of all groups below it."""
    pids: list[int] = []
    for folder, _, names in os.walk(path):
        if "cgroup.procs" in names:
            with open(os.path.join(folder, "cgroup.procs")) as file:
                pids += [int(line) for line in file]
    return pids


def _remove(path: str) -> bool:
    try:
        for entry in list(os.scandir(path)):
            if entry.is_dir():
                os.rmdir(entry.path)
        os.rmdir(path)
    except OSError:
        return False
    return True


def _mounts() -> list[tuple[str, set[str], str, str]]:
    """(version, controllers, root, mount point) of every control group file system, version 1 first."""
    mounts = []
    with open("/proc/self/mountinfo") as file:
        for line in file:
            left, _, right = line.partition(" - ")
            fields, (kind, _, options) = left.split(), right.split()[:3]
            if kind in ("cgroup", "cgroup2"):
                version = "v1" if kind == "cgroup" else "v2"
                mounts.append((version, set(options.split(",")), fields[3], fields[4]))
    return sorted(mounts, key=lambda mount: mount[0])


def _own_groups() -> dict[str, str]:
    groups = {}
    with open("/proc/self/cgroup") as file:
        for line in file:
            _, controllers, path = line.strip().split(":", 2)
            for controller in controllers.split(","):
                groups[controller] = path
    return groups


def _join(mount_point: str, root: str, path: str) -> str:
    if root != "/" and path.startswith(root):
        path = path[len(root) :]
    joined = os.path.join(mount_point, path.lstrip("/")).rstrip("/")
    return joined if os.path.isdir(joined) else mount_point


def _offered(path: str) -> set[str]:
    """Controllers that children of this version 2 group would have, if this process may make children."""
    try:
        with open(os.path.join(path, "cgroup.subtree_control")) as file:
            offered = set(file.read().split())
    except OSError:
        return set()
    return {"memory", "pids"} & offered if os.access(path, os.W_OK) else set()


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)


def _try_write(path: str, text: str) -> OSError | None:
    try:
        _write(path, text)
    except OSError as error:  # no account of swap, or none configured
        return error
    return None
