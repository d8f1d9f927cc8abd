"""New namespaces around a root directory, made by bubblewrap and kept by their descriptors."""

from __future__ import annotations

import os
import re
import signal

from agentrl_sandboxes.inside import kernel

NAMESPACES = ("mnt", "net", "ipc", "uts", "cgroup", "user")
INSIDE_ID = 1000


def build_namespaces(bwrap: str, root: str, devices: str, ids: tuple[int, int] | None) -> tuple[dict[str, int], int]:
    """Let bubblewrap make a sandbox around `root`: descriptors of its namespaces, and its process id.

    `devices` is its /dev; for "" it sees the machine's own device files.

    The namespaces live on by their descriptors; bubblewrap itself has been told to end, and is to be waited for.
    Raises OSError with bubblewrap's own message when it fails.
    """
    info_r, info_w = os.pipe()
    ready_r, ready_w = os.pipe()
    hold_r, hold_w = os.pipe()
    errors_r, errors_w = os.pipe()
    pid = os.fork()
    if pid == 0:
        _exec_bwrap(_arguments(bwrap, root, devices, info_w), ids, info_w, (hold_r, ready_w, errors_w))
    for fd in (info_w, ready_w, hold_r, errors_w):
        os.close(fd)
    try:
        os.write(hold_w, b".")
        if os.read(ready_r, 1) != b".":  # `cat` hands the byte back once everything around it is in place
            message = _read_all(errors_r).decode(errors="replace").strip()
            os.waitpid(pid, 0)
            raise OSError(f"bubblewrap failed: {message or 'no message'}")
        match = re.search(rb'"child-pid": (\d+)', os.read(info_r, 4096))
        child = int(match[1]) if match else -1
        namespaces = _open_namespaces(child)
        os.kill(child, signal.SIGKILL)  # the first process inside, so that the one outside can collect it and end
        return namespaces, pid
    finally:
        for fd in (info_r, ready_r, hold_w, errors_r):
            os.close(fd)


def _open_namespaces(child: int) -> dict[str, int]:
    opened: dict[str, int] = {}
    try:
        for name in NAMESPACES:
            opened[name] = os.open(f"/proc/{child}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        for fd in opened.values():
            os.close(fd)
        raise
    return opened


def _arguments(bwrap: str, root: str, devices: str, info: int) -> list[str]:
    dev = ["--dev-bind", os.path.abspath(devices), "/dev"] if devices else ["--dev", "/dev", "--remount-ro", "/dev"]
    return [
        bwrap, "--unshare-all", "--uid", str(INSIDE_ID), "--gid", str(INSIDE_ID), "--hostname", "sandbox",
        "--ro-bind", os.path.abspath(root), "/", *dev, "--proc", "/proc",
        "--cap-drop", "ALL", "--new-session", "--die-with-parent", "--info-fd", str(info), "--", "cat",
    ]  # fmt: skip


def _exec_bwrap(arguments: list[str], ids: tuple[int, int] | None, info: int, streams: tuple[int, int, int]) -> None:
    try:
        for target, fd in enumerate(streams):
            os.dup2(fd, target)
        os.set_inheritable(info, True)
        if ids is not None:
            kernel.become(*ids)  # first of all: bubblewrap's own --uid would still leave host root behind it
        os.execve(arguments[0], arguments, {"PATH": "/usr/bin:/bin"})
    except OSError as error:
        os.write(2, f"{arguments[0]}: {error}".encode())
    os._exit(127)


def _read_all(fd: int) -> bytes:
    chunks = []
    while chunk := os.read(fd, 65536):
        chunks.append(chunk)
    return b"".join(chunks)
