"""The launcher: started beside the process that uses sandboxes; starts the manager, and cleans up after it."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket

from agentrl_sandboxes.inside import cgroups, kernel, manager
from agentrl_sandboxes.inside.messages import Settings

LOWEST_DESCRIPTOR = 10
"""Descriptors below are /dev/null in every process here: programs get those numbers."""

_GRACE_S = 5.0


def main() -> None:
    """Entry of the launcher's process: settings as JSON in the first message on the socket that is its standard input.

    The launcher stays outside the pid namespace that its child, the manager, is the first process of, and cleans up
    after it. It ends soon after the process it serves, and not before.
    """
    sock = _reserve_low_descriptors()
    settings = Settings(**json.loads(sock.recv(2**16)))
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    kernel.leave_keyring()
    os.environ.clear()
    os.umask(0o022)
    for module in settings.preload:
        __import__(module)
    served = os.pidfd_open(os.getppid())
    family = family_name(os.getpid())
    folder = os.path.join(settings.folder, family)
    os.mkdir(folder, 0o755)
    root = os.geteuid() == 0
    groups = cgroups.find_parents() if settings.cgroups else {}  # now: /proc will be another pid namespace's
    try:
        _enter_namespaces(root)
        pid = os.fork()
        if pid == 0:
            manager.start(sock, settings, family, folder, root)
        sock.close()
        _wait(pid, served)
    except OSError as error:
        sock.send(json.dumps({"fault": f"{error}"}).encode())
    cgroups.remove_family(groups, family)
    with contextlib.suppress(OSError):  # nothing was mounted there yet
        kernel.unmount(folder)
    os.rmdir(folder)


def family_name(pid: int) -> str:
    """Names the folder and the control groups of a launcher, so that a reaper can tell whether it is still there."""
    with open(f"/proc/{pid}/stat") as file:
        started = file.read().rpartition(")")[2].split()[19]
    return f"agentrl-{pid}-{started}"


def _enter_namespaces(root: bool) -> None:
    """A mount namespace for this process, a pid namespace for its children; for an ordinary user inside a user namespace."""
    if not root:
        uid, gid = os.geteuid(), os.getegid()
        kernel.unshare(kernel.NEWUSER)
        for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)
    kernel.unshare(kernel.NEWNS | kernel.NEWPID)
    kernel.make_private()


def _reserve_low_descriptors() -> socket.socket:
    """Make the low numbers /dev/null, for they are a program's streams; the socket that was standard input."""
    while os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC) < LOWEST_DESCRIPTOR:
        pass
    sock = socket.socket(fileno=os.dup(0))
    os.dup2(LOWEST_DESCRIPTOR, 0)
    return sock


def _wait(manager_pid: int, served: int) -> None:
    """Until the manager has ended; when the process it serves is gone, it has a moment to notice that itself."""
    ended = os.pidfd_open(manager_pid)
    if ended not in select.select([served, ended], [], [])[0] and not select.select([ended], [], [], _GRACE_S)[0]:
        os.kill(manager_pid, signal.SIGKILL)
    os.waitpid(manager_pid, 0)
