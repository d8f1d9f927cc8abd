"""A worker holds one sandbox at a time: its namespaces, its files, its supervisors.

It runs no program, and is not in the control group of those that it holds: what they do to memory is not done to it.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import socket
import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple, NoReturn

from agentrl_sandboxes.inside import files, frames, kernel, layers, rootfs, usage
from agentrl_sandboxes.inside.cgroups import Group
from agentrl_sandboxes.inside.folders import Refused
from agentrl_sandboxes.inside.messages import Answer, Limits, Request
from agentrl_sandboxes.inside.namespaces import build_namespaces
from agentrl_sandboxes.inside.starter import Child, Order, Starter, StarterGone

_Reply = tuple[Answer, list[int]]  # with descriptors that go along
_MAX_MESSAGE = 2**17
_SUPERVISOR_BYTES = 24 * 2**20  # what the starter and supervisors may use on top of the program's limit
_TRIES = 2  # at a supervisor, each with a new starter
_PATIENCE_S = 60.0  # with whoever reads or writes files


class Shared(NamedTuple):
    """What all workers of a manager share."""

    bwrap: str
    folders: list[str]
    devices: bool  # whether device files can be made
    overlay: bool
    overlay_options: str
    own_ids: bool  # whether sandboxes get uids of their own (the manager is root)
    filters: dict[str, ctypes.Structure]  # profile → loadable filter


class _Sandbox(NamedTuple):
    """The sandbox that is open."""

    namespaces: dict[str, int]
    workspace: layers.Workspace
    root: str
    ids: tuple[int, int] | None
    profile: str
    limits: Limits
    disk_bytes: int
    base: list[str]  # frozen layers that it began with
    ends_at: float
    hits_before: usage.LimitHits  # when it was opened
    environment: dict[str, str]
    supervisors: dict[int, Child]
    crowded: dict[int, Answer]  # by a number in the place of a process id: why there is no supervisor


class _Prepared(NamedTuple):
    """Namespaces made ahead, for programs with these ids."""

    ids: tuple[int, int] | None
    namespaces: dict[str, int]


class Worker:
    """Answers one request at a time on a socket to the process that uses the sandbox."""

    def __init__(self, sock: socket.socket, name: str, shared: Shared, group: Group | None) -> None:
        self._sock, self._name, self._shared, self._group = sock, name, shared, group
        self._sandbox: _Sandbox | None = None
        self._expired = False
        self._opened_count = 0
        self._roots: dict[str, str] = {}
        self._garbage: list[str] = []
        self._next_id: int | None = None  # the id that the next sandbox will probably have
        self._prepared: _Prepared | None = None
        self._builders: list[int] = []  # bubblewrap processes that are about to end
        self._streams: list[socket.socket] = []  # that came with a request
        self._devices = f"{name}/dev" if shared.devices and rootfs.make_devices(f"{name}/dev") else ""
        self._starter: Starter | None = None
        self._events = (-1, -1)
        self._count_hits()

    def work(self) -> None:
        """Serve until the other side is gone, then leave nothing behind."""
        operations: dict[str, Callable[[Request], _Reply]] = {
            "open": self._open, "supervisor": self._supervisor, "end_supervisor": self._end_supervisor,
            "identity": self._identity, "freeze": self._freeze, "copy_layer": self._copy_layer,
            "remount": self._remount, "drop": self._drop, "close": self._close, "files": self._files,
        }  # fmt: skip
        while True:
            self._wait()
            message, received, _, _ = socket.recv_fds(self._sock, _MAX_MESSAGE, 1)
            if not message:
                break
            request = json.loads(message)
            self._streams = [socket.socket(fileno=fd) for fd in received]
            try:
                answer, fds = operations[request["do"]](request)
            except Refused as reason:
                answer, fds = {"refused": str(reason)}, []
            except OSError as error:
                answer, fds = {"fault": f"{request['do']}: {error}"}, []
            for stream in self._streams:
                stream.close()
            socket.send_fds(self._sock, [json.dumps(answer).encode()], fds)
            for fd in fds:
                os.close(fd)
            self._tidy_up()  # after the answer, in time that nobody waits for
        self._close({})

    def _wait(self) -> None:
        """Until there is a request; a sandbox whose time to live is over is closed meanwhile."""
        while True:
            left = None if self._sandbox is None else max(0.0, self._sandbox.ends_at - time.monotonic())
            if select.select([self._sock], [], [], left)[0]:
                return
            self._close({})
            self._expired = True
            self._tidy_up()

    def _open(self, request: Request) -> _Reply:
        self._expired = False
        self._opened_count += 1
        ids = (request["id"], request["id"]) if self._shared.own_ids else None
        limits = request["limits"]
        if self._group is not None:
            self._leave_what_was_kept()
            self._group.limit_memory(limits["memory_bytes"] + _SUPERVISOR_BYTES)
        workspace = layers.Workspace(
            f"{self._name}.{self._opened_count}",
            ids,
            request["disk_bytes"],
            self._shared.overlay,
            self._shared.overlay_options,
        )
        try:
            workspace.mount(request["base"])
            namespaces = self._namespaces(request["root"], ids)
        except OSError:
            workspace.close()
            self._garbage += workspace.garbage
            raise
        self._sandbox = _Sandbox(
            namespaces, workspace, self._root(request["root"]), ids, request["profile"], limits, request["disk_bytes"],
            request["base"], time.monotonic() + request["ttl_s"], usage.limit_hits(*self._events), request["env"], {}, {},
        )  # fmt: skip
        return self._supervisor({})

    def _leave_what_was_kept(self) -> None:
        """Snapshots of an earlier sandbox may live on. They count as memory of this group: then the next one gets another."""
        kept = [name for name in os.listdir("layers") if name.startswith(f"{self._name}.")]
        if not kept or self._group is None:
            return
        if self._starter is not None:
            self._starter.close()
            self._starter = None
        self._group.remove()
        self._group = self._group.successor()
        self._count_hits()

    def _count_hits(self) -> None:
        for fd in self._events:
            if fd >= 0:
                os.close(fd)
        group = self._group
        self._events = (group.open_events("memory"), group.open_events("pids")) if group else (-1, -1)

    def _namespaces(self, root: str, ids: tuple[int, int] | None) -> dict[str, int]:
        """New ones, never used before: those that were made ahead if they fit, else made now."""
        prepared, self._prepared = self._prepared, None
        if prepared is not None:
            if (root, ids) == ("", prepared.ids):
                return prepared.namespaces
            _close_all(prepared.namespaces)
        return self._build(root, ids)

    def _build(self, root: str, ids: tuple[int, int] | None) -> dict[str, int]:
        namespaces, builder = build_namespaces(self._shared.bwrap, self._root(root), self._devices, ids)
        self._builders.append(builder)
        return namespaces

    def _root(self, root: str) -> str:
        """The read-only root, put together once per worker and directory: nothing in it can be changed by a sandbox."""
        if root not in self._roots:
            target = f"{self._name}/root{len(self._roots)}"
            skeleton = "points" if root else "skeleton"
            rootfs.mount_root(target, skeleton, root, self._shared.folders, self._shared.overlay)
            self._roots[root] = target
        return self._roots[root]

    def _supervisor(self, _: Request) -> _Reply:
        sandbox = self._current()
        ours, theirs = socket.socketpair()
        pid = self._fork_supervisor(theirs)
        theirs.close()
        child = Child.of(pid) if pid > 0 else None
        if child is not None:
            sandbox.supervisors[pid] = child
        elif pid <= 0:  # whoever uses it finds nobody there, and asks why
            pid = -1 - len(sandbox.crowded)
            sandbox.crowded[pid] = {"crowded": True}
        return {"pid": pid}, [ours.detach()]

    def _identity(self, request: Request) -> _Reply:
        """The real uid and the groups of a supervisor, seen from outside."""
        with open(f"/proc/{request['pid']}/status") as file:
            status = dict(line.split(":", 1) for line in file if ":" in line)
        return {"uid": int(status["Uid"].split()[0]), "groups": status["Groups"].split()}, []

    def _fork_supervisor(self, sock: socket.socket) -> int:
        """Its process id; none where programs have taken what it needs."""
        sandbox = self._current()
        if self._group is not None:
            ours = 2 * len(sandbox.supervisors) + 2  # each supervisor, and the program it has forked ahead
            self._group.limit_pids(sandbox.limits["pids"] + ours)
        trees = sandbox.workspace.trees()
        order = Order(
            sandbox.ids, sandbox.profile, sandbox.environment, bool(self._devices), list(sandbox.namespaces),
            [target for _, target in trees],
        )  # fmt: skip
        fds = [sock.fileno(), *sandbox.namespaces.values(), *(fd for fd, _ in trees)]
        try:
            for _ in range(_TRIES):
                if self._starter is None:
                    self._starter = Starter(self._group, self._shared.filters, self._events)
                try:
                    return self._starter.fork(order, fds)
                except StarterGone:
                    self._starter.close()
                    self._starter = None
        finally:
            for fd, _ in trees:
                os.close(fd)
        return 0

    def _end_supervisor(self, request: Request) -> _Reply:
        """End one supervisor; says whether the kernel had to end something here for want of memory."""
        sandbox = self._sandbox
        if sandbox is None:
            return {"out_of_memory": False, "expired": self._expired}, []
        if request["pid"] in sandbox.supervisors:
            sandbox.supervisors.pop(request["pid"]).end()
        crowded = sandbox.crowded.pop(request["pid"], {})
        out_of_memory = usage.limit_hits(*self._events).out_of_memory > sandbox.hits_before.out_of_memory
        return {"out_of_memory": out_of_memory, "expired": False, **crowded}, []

    def _freeze(self, _: Request) -> _Reply:
        sandbox = self._current()
        if sandbox.workspace.unchanged():
            return {"stack": sandbox.workspace.lowers, "lowers": sandbox.workspace.lowers, "ended": False}, []
        ended = sandbox.workspace.stackable()
        if ended:
            self._end_supervisors()
        stack = sandbox.workspace.freeze()
        return {"stack": stack, "ended": ended, "lowers": sandbox.workspace.lowers}, []

    def _copy_layer(self, _: Request) -> _Reply:
        return {"layer": self._current().workspace.copy()}, []

    def _files(self, _: Request) -> _Reply:
        """Put or get files, as a task on the stream that came along says, in the program's name but out of its reach."""
        sandbox, stream = self._current(), self._streams[0]
        stream.settimeout(_PATIENCE_S)
        try:
            task = frames.receive(stream)
        except ValueError as error:
            raise Refused(str(error)) from error
        if task is not None:
            with contextlib.suppress(ConnectionError), kernel.acting_as(sandbox.ids):  # who asked may be gone
                files.serve(sandbox.workspace.places(sandbox.root), *task, partial(frames.send, stream))
        return {}, []

    def _remount(self, request: Request) -> _Reply:
        sandbox = self._current()
        self._end_supervisors()
        sandbox.workspace.mount(sandbox.base if request["stack"] is None else request["stack"])
        return {"lowers": sandbox.workspace.lowers}, []

    def _drop(self, request: Request) -> _Reply:
        self._garbage += request["drop"]
        return {}, []

    def _tidy_up(self) -> None:
        """Free what is not needed any more, and make the next sandbox's namespaces ahead."""
        self._free_garbage()
        if self._next_id is not None and self._sandbox is None:
            self._prepare(self._next_id)
            self._next_id = None
        while self._builders:
            os.waitpid(self._builders.pop(), 0)

    def _prepare(self, next_id: int) -> None:
        if self._prepared is not None:
            _close_all(self._prepared.namespaces)
            self._prepared = None
        ids = (next_id, next_id) if self._shared.own_ids else None
        with contextlib.suppress(OSError):  # whoever opens the next sandbox is told
            self._prepared = _Prepared(ids, self._build("", ids))

    def _free_garbage(self) -> None:
        workspace = [] if self._sandbox is None else self._sandbox.workspace.garbage
        for layer in [*self._garbage, *workspace]:
            layers.drop(layer)
        self._garbage.clear()
        if self._sandbox is not None:
            self._sandbox.workspace.garbage.clear()

    def _close(self, request: Request) -> _Reply:
        if self._sandbox is not None:
            self._end_supervisors()
            self._sandbox.workspace.close()
            self._garbage += self._sandbox.workspace.garbage
            _close_all(self._sandbox.namespaces)
            self._sandbox = None
        self._garbage += request.get("drop", [])
        self._next_id = request.get("next_id")
        return {}, []

    def _end_supervisors(self) -> None:
        for child in self._current().supervisors.values():
            child.end()
        self._current().supervisors.clear()

    def _current(self) -> _Sandbox:
        if self._sandbox is None:
            why = "its time to live is over" if self._expired else "it is not open"
            raise OSError(f"the sandbox is gone: {why}")
        return self._sandbox


def start(sock: socket.socket, name: str, shared: Shared, group: Group | None) -> NoReturn:
    """Runs in a process forked by the manager."""
    code = 1
    try:
        kernel.die_with_parent(signal.SIGKILL)
        os.makedirs(name)
        if shared.own_ids:
            os.setgroups([])  # files are used in the name of programs, and their groups are none
        Worker(sock, name, shared, group).work()
        code = 0
    finally:
        os._exit(code)


def _close_all(fds: dict[str, int]) -> None:
    for fd in fds.values():
        os.close(fd)
