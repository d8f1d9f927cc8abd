"""A supervisor: the first process of a pid namespace of its own, inside a sandbox; runs one program at a time."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import gc
import json
import os
import signal
import socket
from typing import NamedTuple, NoReturn

from agentrl_sandboxes.inside import frames, kernel, rootfs, run, sessions, usage
from agentrl_sandboxes.inside.handles import Handles
from agentrl_sandboxes.inside.messages import Answer, Ending, Job
from agentrl_sandboxes.inside.program import FIRST_FREE
from agentrl_sandboxes.inside.run import Run
from agentrl_sandboxes.inside.sessions import Session


class Confinement(NamedTuple):
    """Where a supervisor goes, and what it gives up: file descriptors of namespaces and of mounts to attach, ids …"""

    namespaces: dict[str, int]  # "mnt", "net", "ipc", "uts", "cgroup", "user"
    trees: list[tuple[int, str]]  # detached mounts and their targets
    ids: tuple[int, int] | None  # uid and gid to become first; None where this process is unprivileged already
    filter: ctypes.Structure  # of system calls
    memory_fd: int
    pids_fd: int
    memory_cgroup: bool
    environment: dict[str, str]  # of every program here
    devices: bool  # whether /dev is the sandbox's own


_NO_ROOM = (errno.EAGAIN, errno.ENOMEM, errno.ENOBUFS)
SCORE = b"500"
"""Of a supervisor: when memory runs out a program goes first, then supervisors, and only then whoever starts them."""


def start(sock: socket.socket, confinement: Confinement) -> NoReturn:
    """Runs in a process forked into a new pid namespace; ends when `sock` is closed, and everything here with it."""
    code = 1
    try:
        proc_fd = _enter(confinement)
        os.environ.update(confinement.environment)  # here, because in a fresh fork it would cost more
        wake = watch_children()
        close_all_but(sock.fileno(), proc_fd, confinement.memory_fd, confinement.pids_fd, *wake)
        frames.send(sock, {"ready": True})
        serve(Handles(sock, proc_fd, wake[0], confinement.memory_fd, confinement.pids_fd, confinement.memory_cgroup))
        code = 0
    except Exception as error:  # whoever asked for this supervisor is told
        report_end(sock, error)
    os._exit(code)


def report_end(sock: socket.socket, error: Exception) -> None:
    """Say why this supervisor cannot go on: want of room is the programs' own doing, anything else is a fault of ours."""
    answer: Answer = {"fault": f"{type(error).__name__}: {error}"}
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in _NO_ROOM):
        crowded = isinstance(error, OSError) and error.errno == errno.EAGAIN
        answer = {"crowded": True} if crowded else {"out_of_memory": True}
    with contextlib.suppress(OSError):  # nobody listens
        frames.send(sock, answer)


def _enter(confinement: Confinement) -> int:
    """Join the sandbox, see its files and only one's own processes, and give up every privilege.

    The order matters: each step needs a privilege that a later one gives up. Returns a writable view of /proc.
    """
    for name in ("mnt", "net", "ipc", "uts", "cgroup"):
        kernel.setns(confinement.namespaces[name])
    kernel.unshare(kernel.NEWNS)  # what is mounted from here on is seen by this supervisor's programs only
    kernel.make_private()
    if confinement.devices:
        kernel.mount("devpts", "/dev/pts", "devpts", kernel.NOSUID | kernel.NOEXEC, rootfs.TERMINALS)
    for fd, target in confinement.trees:
        kernel.attach_tree(fd, target)
    kernel.mount("proc", "/proc", "proc", kernel.NOSUID | kernel.NODEV | kernel.NOEXEC)
    proc_fd = kernel.clone_tree("/proc")  # stays writable: programs are to be the first that the kernel kills
    with open("/proc/self/oom_score_adj", "wb", buffering=0) as score:
        score.write(SCORE)
    flags = kernel.NOSUID | kernel.NODEV | kernel.NOEXEC | kernel.RDONLY
    kernel.mount("none", "/proc", None, kernel.REMOUNT | kernel.BIND | flags)
    if confinement.ids is not None:
        kernel.become(*confinement.ids)
    kernel.setns(confinement.namespaces["user"])  # last of the namespaces: the others are entered with root's rights
    kernel.drop_capabilities()  # entering a user namespace gave all of them back
    kernel.forbid_new_privileges()
    kernel.set_dumpable(False)  # programs have the same uid, and must not look into this process
    kernel.die_with_parent(signal.SIGKILL)  # after `become`, which would clear it
    os.chdir("/workspace")
    kernel.set_seccomp(confinement.filter)  # programs inherit it; a supervisor needs no call outside of it
    return proc_fd


def watch_children() -> tuple[int, int]:
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


def serve(handles: Handles) -> None:
    """One program after the other; the next one is forked as soon as the last one is gone, and waits for its job."""
    gc.freeze()
    while True:
        running = run.fork_ahead(handles)
        job, rest = running.await_job()
        if job["kind"].startswith("session"):
            running.close()
            _serve_session(handles, job, json.loads(rest)["code"])
            return
        report = running.attend(job, usage.parse_hits(rest))
        # A program may not want all of its input; then the rest is still on the socket, and no next job can be read.
        last = bool(running.input.unsent) or running.escaped
        _report(handles, report, running, last=last)
        running.close()
        if last:
            return


def _serve_session(handles: Handles, job: Job, code: str) -> None:
    """From the first call on this supervisor is one interpreter's; where that ends, the next call gets a new one."""
    session: Session | None = None
    while True:
        fresh = session is None or not session.alive()
        if fresh and session is not None:
            session.close()
        if session is None or fresh:
            session = sessions.begin(handles, job)
        before = session.limit_hits()
        session.call(code)
        _report(handles, session.attend(job, before), session, fresh=fresh)
        frame, call = frames.receive(handles.sock), frames.receive(handles.sock)
        if frame is None or call is None:
            return
        job, code = frame[0], call[0]["code"]


def _report(handles: Handles, report: Ending, running: Run, *, last: bool = False, fresh: bool = False) -> None:
    parts = (part for stream in running.outputs.kept() for part in stream[:2])
    frames.send(handles.sock, {**report, "last": last, "fresh": fresh}, *parts)
