"""The manager: prepares what all sandboxes share, and forks a worker for each sandbox that is open at a time."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import signal
import socket
import sys
import time
from typing import NoReturn

from agentrl_sandboxes.inside import cgroups, kernel, layers, rootfs, seccomp, worker
from agentrl_sandboxes.inside.messages import Facts, Settings

_FIRST_ID = 2_000_000_000  # above everything that distributions, containers and systemd hand out
_IDS_PER_MANAGER, _BLOCKS = 1024, 64
_GRACE_S = 5.0
_PROFILES = ("default", "strict")


class Manager:
    """The first process of a pid namespace: whatever ends it, the kernel ends everything it ever started.

    All mounts are in a mount namespace of its own and go the same way. What is left is one empty folder and the
    control groups; the launcher removes those, and where it was killed too, the reaper does.
    """

    def __init__(self, sock: socket.socket, settings: Settings, family: str, folder: str, root: bool) -> None:
        self._sock, self._settings, self._family, self._folder = sock, settings, family, folder
        self._own_ids = root
        self._workers: dict[int, str] = {}
        self._started = 0
        self._parents = cgroups.find_parents() if settings.cgroups else {}
        self._claim, self._first_id = claim_ids()
        self._shared = self._prepare()
        self._groups_work = bool(self._parents)
        self._group("trial")

    def facts(self) -> Facts:
        """What a grade says of this manager."""
        return {
            "overlay": self._shared.overlay,
            "devices": self._shared.devices,
            "first_id": self._first_id,
            "ids": _IDS_PER_MANAGER,
            "cgroup": {name: parent.version for name, parent in self._parents.items()} if self._groups_work else {},
            "family": self._family,
            "seccomp": {name: seccomp.fingerprint(self._filter(name, self._shared.overlay)) for name in _PROFILES},
            "python": sys.version.split()[0],
        }

    def work(self) -> None:
        """Serve until the other side is gone, then wait for the workers, which have noticed too."""
        while True:
            ready = select.select([self._sock], [], [], 1.0)[0]
            self._reap_children()
            if not ready:
                continue
            message = self._sock.recv(2**16)
            if not message:
                break
            self._start_worker()
        until = time.monotonic() + _GRACE_S
        while self._workers and time.monotonic() < until:
            self._reap_children()
            time.sleep(0.005)

    def _prepare(self) -> worker.Shared:
        kernel.mount("proc", "/proc", "proc", kernel.NOSUID | kernel.NODEV | kernel.NOEXEC)
        kernel.mount("tmpfs", self._folder, "tmpfs", kernel.NOSUID | kernel.NODEV, "mode=755")
        os.chdir(self._folder)
        for name in ("empty", "skeleton", "points", "layers", "views"):
            os.mkdir(name)
        folders = rootfs.system_folders(self._settings.python_folders)
        rootfs.make_skeleton("skeleton", self._settings.python, folders)
        rootfs.make_mount_points("points")
        options = ",redirect_dir=on" if self._own_ids else ",userxattr"
        overlay = bool(self._settings.overlay) and layers.overlay_works(options)
        filters = {name: seccomp.loadable(self._filter(name, overlay)) for name in _PROFILES}
        devices = rootfs.make_devices("dev")
        return worker.Shared(self._settings.bwrap, folders, devices, overlay, options, self._own_ids, filters)

    def _filter(self, profile: str, overlay: bool) -> bytes:
        return seccomp.compile_filter(profile, shared_inodes=not overlay)

    def _start_worker(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._started += 1
        name = f"w{self._started}"
        group = self._group(name)
        pid = os.fork()
        if pid == 0:
            self._sock.close()
            ours.close()
            worker.start(theirs, name, self._shared, group)
        theirs.close()
        self._workers[pid] = name
        socket.send_fds(self._sock, [json.dumps({"name": name}).encode()], [ours.fileno()])
        ours.close()

    def _group(self, name: str) -> cgroups.Group | None:
        if not self._groups_work:
            return None
        try:
            return cgroups.Group(self._parents, self._family, name)
        except OSError:
            self._groups_work = False  # looked writable, is not; the grade says so
            return None

    def _reap_children(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, _ = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                self._workers.pop(pid, None)


def start(sock: socket.socket, settings: Settings, family: str, folder: str, root: bool) -> NoReturn:
    """Runs in a process that the launcher has forked into a new pid namespace. `folder` is for everything it mounts."""
    try:
        kernel.die_with_parent(signal.SIGKILL)
        manager = Manager(sock, settings, family, folder, root)
        sock.send(json.dumps(manager.facts()).encode())
        gc.freeze()
        manager.work()
    except (OSError, ValueError) as error:
        sock.send(json.dumps({"fault": f"{error}"}).encode())
    finally:
        os._exit(0)


def claim_ids() -> tuple[socket.socket | None, int]:
    """A block of uids that no other manager of this machine uses, and the first of them.

    The claim is a name in the abstract socket space: the kernel gives it up when this process ends.
    """
    with open("/proc/self/uid_map") as file:
        start, _, count = (int(field) for field in file.readlines()[-1].split())
    enough = start + count > _FIRST_ID + _BLOCKS * _IDS_PER_MANAGER
    first = _FIRST_ID if enough else max(start + count - _BLOCKS * _IDS_PER_MANAGER, start + 1)
    for block in range(_BLOCKS):
        claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            claim.bind(f"\0agentrl-ids-{first + block * _IDS_PER_MANAGER}")
            return claim, first + block * _IDS_PER_MANAGER
        except OSError:
            claim.close()
    raise OSError(f"{_BLOCKS} processes of this machine hold sandboxes already; close some")
