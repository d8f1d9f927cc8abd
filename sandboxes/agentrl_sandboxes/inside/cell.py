"""A cell: the first process of a pid namespace of its own, inside a sandbox; runs one program at a time."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
import socket
from typing import Any, NamedTuple, NoReturn

from agentrl_sandboxes.inside import frames, kernel, sessions, supervise
from agentrl_sandboxes.inside.program import FIRST_FREE
from agentrl_sandboxes.inside.sessions import Session
from agentrl_sandboxes.inside.supervise import Cell


class Place(NamedTuple):
    """Where a cell is to be: file descriptors of namespaces and of the mounts to attach, and who it becomes."""

    namespaces: dict[str, int]  # "mnt", "net", "ipc", "uts", "cgroup", "user"
    trees: list[tuple[int, str]]  # detached mounts and their targets
    ids: tuple[int, int] | None  # uid and gid to become first; None where this process is unprivileged already
    filter: Any
    memory_fd: int
    pids_fd: int
    memory_cgroup: bool
    environment: dict[str, str]  # of every program here


def live(sock: socket.socket, place: Place) -> NoReturn:
    """Runs in a process forked into a new pid namespace; ends when `sock` is closed, and everything here with it."""
    code = 1
    try:
        proc_fd = _enter(place)
        os.environ.update(place.environment)  # here, because in a fresh fork it would cost more
        wake = listen_for_children()
        close_all_but(sock.fileno(), proc_fd, place.memory_fd, place.pids_fd, *wake)
        frames.send(sock, {"ready": True})
        serve(Cell(sock, proc_fd, wake[0], place.memory_fd, place.pids_fd, place.memory_cgroup))
        code = 0
    except (OSError, ValueError) as error:
        _complain(sock, error)
    os._exit(code)


def _enter(place: Place) -> int:
    """Join the sandbox, see its files and only one's own processes, and give up every privilege."""
    for name in ("mnt", "net", "ipc", "uts", "cgroup"):
        kernel.setns(place.namespaces[name])
    kernel.unshare(kernel.NEWNS)
    kernel.make_private()
    for fd, target in place.trees:
        kernel.attach_tree(fd, target)
    kernel.mount("proc", "/proc", "proc", kernel.NOSUID | kernel.NODEV | kernel.NOEXEC)
    proc_fd = kernel.clone_tree("/proc")
    kernel.mount("none", "/proc", None, kernel.REMOUNT | kernel.BIND | kernel.RDONLY | 14)
    if place.ids is not None:
        kernel.become(*place.ids)
    kernel.setns(place.namespaces["user"])
    kernel.drop_capabilities()
    kernel.forbid_new_privileges()
    kernel.set_dumpable(False)
    kernel.die_with_parent(signal.SIGKILL)
    os.chdir("/workspace")
    kernel.set_seccomp(place.filter)  # programs inherit it; nothing a supervisor does is outside what they may do
    return proc_fd


def listen_for_children() -> tuple[int, int]:
    """A pipe that becomes readable when a child ends. The first process of a namespace gets no other signals anyway."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    return reader, writer


def close_all_but(*keep: int) -> None:
    """Close what this process inherited; the lowest numbers stay /dev/null, they are for programs."""
    for name in os.listdir("/proc/self/fd"):
        if int(name) >= FIRST_FREE and int(name) not in keep:
            with contextlib.suppress(OSError):  # the descriptor that listed them
                os.close(int(name))


def serve(cell: Cell) -> None:
    """One program after the other; the next one is forked as soon as the last one is gone, and waits for its job."""
    gc.freeze()
    while True:
        running = supervise.prepare(cell)
        job, code = running.await_job()
        if job["kind"].startswith("session"):
            running.close()
            _serve_session(cell, job, json.loads(code)["code"])
            return
        header = running.attend(job)
        # A program may not want all of its input; then the rest is still on the socket, and no next job can be read.
        last = bool(running.input.unsent) or running.stray
        _report(cell, {**header, "last": last}, running, fresh=False)
        running.close()
        if last:
            return


def _serve_session(cell: Cell, job: dict[str, Any], code: str) -> None:
    """From the first call on this cell is one interpreter's; where that ends, the next call gets a new one."""
    session: Session | None = None
    while True:
        fresh = session is None or not session.alive()
        if fresh and session is not None:
            session.close()
        if session is None or fresh:
            session = sessions.begin(cell, job)
        session.call(code)
        _report(cell, session.attend(job), session, fresh)
        frame, call = frames.receive(cell.sock), frames.receive(cell.sock)
        if frame is None or call is None:
            return
        job, code = frame[0], call[0]["code"]


def _report(cell: Cell, header: dict[str, Any], running: supervise.Supervised, fresh: bool) -> None:
    parts = (part for stream in running.outputs.kept() for part in stream[:2])
    frames.send(cell.sock, {**header, "fresh": fresh}, *parts)


def _complain(sock: socket.socket, error: Exception) -> None:
    with contextlib.suppress(OSError):  # nobody listens
        frames.send(sock, {"fault": f"{type(error).__name__}: {error}"})
