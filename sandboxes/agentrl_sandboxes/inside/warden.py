"""The warden: a small process beside the one that uses sandboxes; it furnishes the house and starts keepers in it."""

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
from typing import Any, NoReturn

from agentrl_sandboxes.inside import cgroups, jail, keeper, kernel, layers, seccomp

_FIRST_ID = 2_000_000_000  # above everything that distributions, containers and systemd hand out
_IDS_PER_WARDEN, _BLOCKS = 1024, 64
_PATIENCE_S = 5.0
_PROFILES = ("default", "strict")


class Warden:
    """The first process of a pid namespace: whatever ends it, the kernel ends everything it ever started.

    All mounts are in a mount namespace of its own and go the same way. What is left is one empty folder and the
    control groups; the porter removes those, and where it was killed too, the reaper does.
    """

    def __init__(self, sock: socket.socket, settings: dict[str, Any], family: str, folder: str, root: bool) -> None:
        self._sock, self._settings, self._family, self._folder = sock, settings, family, folder
        self._own_ids = root
        self._keepers: dict[int, str] = {}
        self._made = 0
        self._parents = cgroups.find_parents() if settings["cgroups"] else {}
        self._claim, self._first_id = claim_ids()
        self._house = self._furnish()
        self._groups_work = bool(self._parents)
        self._group("probe")

    def facts(self) -> dict[str, Any]:
        """What a grade says of this warden."""
        return {
            "overlay": self._house.overlay,
            "first_id": self._first_id,
            "ids": _IDS_PER_WARDEN,
            "cgroup": {name: parent.version for name, parent in self._parents.items()} if self._groups_work else {},
            "family": self._family,
            "seccomp": {name: seccomp.fingerprint(self._filter(name, self._house.overlay)) for name in _PROFILES},
            "python": sys.version.split()[0],
        }

    def work(self) -> None:
        """Serve until the other side is gone, then wait for the keepers, who have noticed too."""
        while True:
            ready = select.select([self._sock], [], [], 1.0)[0]
            self._collect()
            if not ready:
                continue
            message = self._sock.recv(2**16)
            if not message:
                break
            self._start_keeper()
        until = time.monotonic() + _PATIENCE_S
        while self._keepers and time.monotonic() < until:
            self._collect()
            time.sleep(0.005)

    def _furnish(self) -> keeper.House:
        kernel.mount("proc", "/proc", "proc", kernel.NOSUID | kernel.NODEV | kernel.NOEXEC)
        kernel.mount("tmpfs", self._folder, "tmpfs", kernel.NOSUID | kernel.NODEV, "mode=755")
        os.chdir(self._folder)
        for name in ("empty", "skeleton", "points", "layers", "views"):
            os.mkdir(name)
        folders = jail.system_folders(self._settings["python_folders"])
        jail.furnish_skeleton("skeleton", self._settings["python"], folders)
        jail.furnish_mount_points("points")
        options = ",redirect_dir=on" if self._own_ids else ",userxattr"
        overlay = bool(self._settings["overlay"]) and layers.overlay_works(options)
        filters = {name: seccomp.loadable(self._filter(name, overlay)) for name in _PROFILES}
        return keeper.House(self._settings["bwrap"], folders, overlay, options, self._own_ids, filters)

    def _filter(self, profile: str, overlay: bool) -> bytes:
        return seccomp.compile_filter(profile, shared_inodes=not overlay)

    def _start_keeper(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._made += 1
        name = f"k{self._made}"
        group = self._group(name)
        pid = os.fork()
        if pid == 0:
            self._sock.close()
            ours.close()
            keeper.begin(theirs, name, self._house, group)
        theirs.close()
        self._keepers[pid] = name
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

    def _collect(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, _ = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                self._keepers.pop(pid, None)


def main() -> None:
    """Entry of the porter's process: settings as JSON in the first message on the socket that is its standard input.

    The porter stays outside the pid namespace that its child, the warden, is the first process of, and cleans up
    after it. It ends soon after the process it serves, and not before.
    """
    while os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC) < keeper.LOWEST_DESCRIPTOR:
        pass  # the low numbers are for the streams of programs
    sock = socket.socket(fileno=os.dup(0))
    os.dup2(keeper.LOWEST_DESCRIPTOR, 0)
    settings = json.loads(sock.recv(2**16))
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    kernel.leave_keyring()
    os.environ.clear()
    os.umask(0o022)
    for module in settings["preload"]:
        __import__(module)
    served = os.pidfd_open(os.getppid())
    family = family_name(os.getpid())
    folder = os.path.join(settings["folder"], family)
    os.mkdir(folder, 0o755)
    root = os.geteuid() == 0
    groups = cgroups.find_parents() if settings["cgroups"] else {}  # now: /proc will be another pid namespace's
    try:
        _enter_namespaces(root)
        pid = os.fork()
        if pid == 0:
            _be_warden(sock, settings, family, folder, root)
        sock.close()
        _wait(pid, served)
    except OSError as error:
        sock.send(json.dumps({"fault": f"{error}"}).encode())
    cgroups.remove_family(groups, family)
    with contextlib.suppress(OSError):  # it never came to mounting it
        kernel.unmount(folder)
    os.rmdir(folder)


def family_name(pid: int) -> str:
    """Names the folder and the control groups of a porter so that a reaper can tell whether it still lives."""
    with open(f"/proc/{pid}/stat") as file:
        started = file.read().rpartition(")")[2].split()[19]
    return f"agentrl-{pid}-{started}"


def claim_ids() -> tuple[socket.socket | None, int]:
    """A block of uids that no other warden of this machine uses, and the first of them.

    The claim is a name in the abstract socket space: the kernel gives it up when this process ends.
    """
    with open("/proc/self/uid_map") as file:
        start, _, count = (int(field) for field in file.readlines()[-1].split())
    enough = start + count > _FIRST_ID + _BLOCKS * _IDS_PER_WARDEN
    first = _FIRST_ID if enough else max(start + count - _BLOCKS * _IDS_PER_WARDEN, start + 1)
    for block in range(_BLOCKS):
        claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            claim.bind(f"\0agentrl-ids-{first + block * _IDS_PER_WARDEN}")
            return claim, first + block * _IDS_PER_WARDEN
        except OSError:
            claim.close()
    raise OSError(f"{_BLOCKS} processes of this machine hold sandboxes already; close some")


def _be_warden(sock: socket.socket, settings: dict[str, Any], family: str, folder: str, root: bool) -> NoReturn:
    try:
        kernel.die_with_parent(signal.SIGKILL)
        warden = Warden(sock, settings, family, folder, root)
        sock.send(json.dumps(warden.facts()).encode())
        gc.freeze()
        warden.work()
    except (OSError, ValueError) as error:
        sock.send(json.dumps({"fault": f"{error}"}).encode())
    finally:
        os._exit(0)


def _enter_namespaces(root: bool) -> None:
    """A mount namespace for this process, a pid namespace for its children; for an ordinary user inside his own."""
    if not root:
        uid, gid = os.geteuid(), os.getegid()
        kernel.unshare(kernel.NEWUSER)
        for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)
    kernel.unshare(kernel.NEWNS | kernel.NEWPID)
    kernel.make_private()


def _wait(warden: int, served: int) -> None:
    """Until the warden has ended; when the process it serves is gone, it has a moment to notice that itself."""
    ended = os.pidfd_open(warden)
    if ended not in select.select([served, ended], [], [])[0] and not select.select([ended], [], [], _PATIENCE_S)[0]:
        os.kill(warden, signal.SIGKILL)
    os.waitpid(warden, 0)
