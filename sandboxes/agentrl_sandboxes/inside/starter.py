"""A starter: forks supervisors inside the control group of a sandbox, where they and their programs are born.

Moving a process into a group takes milliseconds, so one process stays in there and forks. Whatever programs do to the
memory of the group is done to it too; the worker, which holds the sandbox, is outside and starts another one.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import socket
from typing import NamedTuple, NoReturn

from agentrl_sandboxes.inside import kernel, supervisor
from agentrl_sandboxes.inside.cgroups import Group

_MAX_MESSAGE, _MAX_FDS = 2**17, 32
_PATIENCE_S = 60.0


class Order(NamedTuple):
    """What a supervisor is to be; descriptors come along: its socket, its namespaces, and mounts to attach."""

    ids: tuple[int, int] | None
    profile: str
    environment: dict[str, str]
    devices: bool  # whether /dev is the sandbox's own
    namespaces: list[str]
    targets: list[str]  # of the mounts


class StarterGone(OSError):
    """It was killed; for want of memory, as far as anybody knows."""


class Starter:
    """The worker's side of its starter."""

    def __init__(self, group: Group | None, filters: dict[str, ctypes.Structure], events: tuple[int, int]) -> None:
        """`events`: what counts hits of the limits on memory and processes, or -1."""
        self._sock, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._sock.settimeout(_PATIENCE_S)
        self.pid = os.fork()
        if self.pid == 0:
            _start(theirs, group, filters, events)
        theirs.close()

    def fork(self, order: Order, fds: list[int]) -> int:
        """The process id of a new supervisor, 0 where the group has no room for one. Raises StarterGone."""
        try:
            socket.send_fds(self._sock, [json.dumps(order).encode()], fds)
            answer = self._sock.recv(64)
        except OSError as error:
            raise StarterGone(str(error)) from error
        if not answer:
            raise StarterGone("it ended")
        return int(answer)

    def close(self) -> None:
        """End it, and all supervisors with it."""
        self._sock.close()
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


class Child(NamedTuple):
    """A supervisor, as the worker knows it, which is not its parent."""

    handle: int  # a descriptor of the process

    @classmethod
    def of(cls, pid: int) -> Child | None:
        """None where it has ended already."""
        try:
            return cls(os.pidfd_open(pid))
        except ProcessLookupError:
            return None

    def end(self) -> None:
        """Kill it; the kernel then kills all that lives in its pid namespace before this returns."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.handle, signal.SIGKILL)
        select.select([self.handle], [], [])
        os.close(self.handle)


def _start(
    sock: socket.socket, group: Group | None, filters: dict[str, ctypes.Structure], events: tuple[int, int]
) -> NoReturn:
    """Runs in a process forked by the worker; ends with it."""
    code = 1
    try:
        kernel.die_with_parent(signal.SIGKILL)
        supervisor.close_all_but(sock.fileno(), *events)
        if group is not None:
            group.attach(0)
        own_pid_ns = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        signal.signal(signal.SIGCHLD, _reap)
        while True:
            message, fds, _, _ = socket.recv_fds(sock, _MAX_MESSAGE, _MAX_FDS)
            if not message:
                break
            pid = _fork_supervisor(Order(*json.loads(message)), fds, filters, events, own_pid_ns)
            for fd in fds:
                os.close(fd)
            sock.send(str(pid).encode())
        code = 0
    finally:
        os._exit(code)


def _fork_supervisor(
    order: Order, fds: list[int], filters: dict[str, ctypes.Structure], events: tuple[int, int], own: int
) -> int:
    namespaces = {name: fds[1 + index] for index, name in enumerate(order.namespaces)}
    mounts = fds[1 + len(namespaces) :]
    confinement = supervisor.Confinement(
        namespaces, [(mounts[index], target) for index, target in enumerate(order.targets)], order.ids,
        filters[order.profile], *events, events[0] >= 0, order.environment, order.devices,
    )  # fmt: skip
    try:
        kernel.unshare(kernel.NEWPID)  # the next child is the first process of a pid namespace; this one stays
        pid = os.fork()
        if pid == 0:
            supervisor.start(socket.socket(fileno=fds[0]), confinement)
    except OSError:  # programs that run here already leave no room
        pid = 0
    finally:
        kernel.setns(own, kernel.NEWPID)  # or the one after it would be in there, too
    return pid


def _reap(*_: object) -> None:
    """Supervisors that have ended; whoever had them killed sees it by their descriptors."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
