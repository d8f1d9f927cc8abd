"""A keeper holds one sandbox at a time: its namespaces, its files, its cells. It never runs foreign code itself."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import time
from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn

from agentrl_sandboxes.inside import cell, jail, kernel, layers, watch
from agentrl_sandboxes.inside.cgroups import Group

LOWEST_DESCRIPTOR = 10
"""Descriptors below are /dev/null in every process here: programs get those numbers."""

_MAX_MESSAGE = 2**17
_SUPERVISOR_BYTES = 24 * 2**20  # what keeper and cells themselves may use on top of the program's limit


class House(NamedTuple):
    """What all keepers of a warden share."""

    bwrap: str
    folders: list[str]
    overlay: bool
    overlay_options: str
    own_ids: bool  # whether sandboxes get uids of their own (the warden is root)
    filters: dict[str, Any]  # profile → loadable filter


class _Life(NamedTuple):
    """One sandbox, from opening to closing."""

    namespaces: dict[str, int]
    workspace: layers.Workspace
    ids: tuple[int, int] | None
    filter: Any
    limits: dict[str, Any]
    base: list[str]
    ends_at: float
    counted: watch.Counters
    environment: dict[str, str]
    cells: set[int]


class _Ready(NamedTuple):
    """Namespaces made ahead, for programs with these ids."""

    ids: tuple[int, int] | None
    namespaces: dict[str, int]


class Keeper:
    """Answers one request at a time on a socket to the process that uses the sandbox."""

    def __init__(self, sock: socket.socket, name: str, house: House, group: Group | None) -> None:
        self._sock, self._name, self._house, self._group = sock, name, house, group
        self._life: _Life | None = None
        self._expired = False
        self._lives = 0
        self._roots: dict[str, str] = {}
        self._trash: list[str] = []
        self._wish: int | None = None  # the id that the next sandbox will probably have
        self._ready: _Ready | None = None
        self._builders: list[int] = []  # bubblewrap processes that are about to end
        self._own_pid_ns = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        self._memory_fd = group.open_events("memory") if group else -1
        self._pids_fd = group.open_events("pids") if group else -1

    def work(self) -> None:
        """Serve until the other side is gone, then leave nothing behind."""
        operations: dict[str, Callable[[dict[str, Any]], tuple[dict[str, Any], list[int]]]] = {
            "open": self._open, "cell": self._cell, "end_cell": self._end_cell, "whose": self._whose, "freeze": self._freeze,
            "copy_layer": self._copy_layer, "remount": self._remount, "drop": self._drop, "close": self._close,
        }  # fmt: skip
        while True:
            self._wait()
            message = self._sock.recv(_MAX_MESSAGE)
            if not message:
                break
            request = json.loads(message)
            try:
                answer, fds = operations[request["do"]](request)
            except OSError as error:
                answer, fds = {"fault": f"{request['do']}: {error}"}, []
            socket.send_fds(self._sock, [json.dumps(answer).encode()], fds)
            for fd in fds:
                os.close(fd)
            self._tidy_up()  # after the answer, in time that nobody waits for
        self._close({})

    def _wait(self) -> None:
        """Until there is a request; a sandbox whose time to live is over is closed meanwhile."""
        while True:
            left = None if self._life is None else max(0.0, self._life.ends_at - time.monotonic())
            if select.select([self._sock], [], [], left)[0]:
                return
            self._close({})
            self._expired = True
            self._tidy_up()

    def _open(self, request: dict[str, Any]) -> tuple[dict[str, Any], list[int]]:
        self._expired = False
        self._lives += 1
        ids = (request["id"], request["id"]) if self._house.own_ids else None
        limits = request["limits"]
        if self._group is not None:
            self._group.limit_memory(limits["memory_bytes"] + _SUPERVISOR_BYTES)
        workspace = layers.Workspace(
            f"{self._name}.{self._lives}", ids, limits["disk_bytes"], self._house.overlay, self._house.overlay_options
        )
        try:
            workspace.mount(request["base"])
            namespaces = self._namespaces(request["root"], ids)
        except OSError:
            workspace.close()
            self._trash += workspace.trash
            raise
        self._life = _Life(
            namespaces, workspace, ids, self._house.filters[request["profile"]], limits, request["base"],
            time.monotonic() + request["ttl_s"], watch.counters(self._memory_fd, self._pids_fd), request["env"], set(),
        )  # fmt: skip
        return self._cell({})

    def _namespaces(self, root: str, ids: tuple[int, int] | None) -> dict[str, int]:
        """New ones, never used before: those that were made ahead if they fit, else made now."""
        ready, self._ready = self._ready, None
        if ready is not None:
            if (root, ids) == ("", ready.ids):
                return ready.namespaces
            _close_all(ready.namespaces)
        return self._build(root, ids)

    def _build(self, root: str, ids: tuple[int, int] | None) -> dict[str, int]:
        namespaces, builder = jail.build(self._house.bwrap, self._root(root), ids)
        self._builders.append(builder)
        return namespaces

    def _root(self, root: str) -> str:
        """The read-only root, put together once per keeper and directory: nothing in it can be changed by a sandbox."""
        if root not in self._roots:
            target = f"{self._name}/root{len(self._roots)}"
            skeleton = "points" if root else "skeleton"
            jail.mount_root(target, skeleton, root, self._house.folders, self._house.overlay)
            self._roots[root] = target
        return self._roots[root]

    def _cell(self, request: dict[str, Any]) -> tuple[dict[str, Any], list[int]]:
        extra = [(kernel.clone_tree(f"{request['show']}/u"), "/mnt")] if request.get("show") else []
        ours, theirs = socket.socketpair()
        pid = self._fork_cell(theirs, [*self._opened().workspace.trees(), *extra])
        self._opened().cells.add(pid)
        theirs.close()
        return {"pid": pid}, [ours.detach()]

    def _whose(self, request: dict[str, Any]) -> tuple[dict[str, Any], list[int]]:
        """The real uid and the groups of a cell, seen from outside."""
        with open(f"/proc/{request['pid']}/status") as file:
            status = dict(line.split(":", 1) for line in file if ":" in line)
        return {"uid": int(status["Uid"].split()[0]), "groups": status["Groups"].split()}, []

    def _fork_cell(self, sock: socket.socket, trees: list[tuple[int, str]]) -> int:
        life = self._opened()
        if self._group is not None:
            self._group.limit_pids(life.limits["pids"] + 2 * len(life.cells) + 2)  # each cell, and one that waits in it
        place = cell.Place(
            life.namespaces,
            trees,
            life.ids,
            life.filter,
            self._memory_fd,
            self._pids_fd,
            self._memory_fd >= 0,
            life.environment,
        )
        kernel.unshare(kernel.NEWPID)  # for the next child only
        try:
            pid = os.fork()
            if pid == 0:
                cell.live(sock, place)
        finally:
            kernel.setns(self._own_pid_ns, kernel.NEWPID)
            for fd, _ in trees:
                os.close(fd)
        return pid

    def _end_cell(self, request: dict[str, Any]) -> tuple[dict[str, Any], list[int]]:
        """End one cell; says whether the kernel had to end something here for want of memory."""
        if self._life is not None and request["pid"] in self._life.cells:
            _end(request["pid"])
            self._life.cells.remove(request["pid"])
        counted = watch.counters(self._memory_fd, self._pids_fd)
        hungry = self._life is not None and counted.out_of_memory > self._life.counted.out_of_memory
        return {"out_of_memory": hungry, "expired": self._expired}, []

    def _freeze(self, _: dict[str, Any]) -> tuple[dict[str, Any], list[int]]:
        life = self._opened()
        if life.workspace.unchanged():
            return {"stack": life.workspace.lowers, "lowers": life.workspace.lowers, "ended": False}, []
        self._end_cells()
        stack = life.workspace.freeze()
        return {"stack": stack, "ended": True, "upper": life.workspace.upper, "lowers": life.workspace.lowers}, []

    def _copy_layer(self, _: dict[str, Any]) -> tuple[dict[str, Any], list[int]]:
        life = self._opened()
        return {"layer": life.workspace.new_layer(life.limits["disk_bytes"])}, []

    def _remount(self, request: dict[str, Any]) -> tuple[dict[str, Any], list[int]]:
        life = self._opened()
        self._end_cells()
        life.workspace.mount(life.base if request["stack"] is None else request["stack"])
        return {"upper": life.workspace.upper, "lowers": life.workspace.lowers}, []

    def _drop(self, request: dict[str, Any]) -> tuple[dict[str, Any], list[int]]:
        self._trash += request["layers"]
        return {}, []

    def _tidy_up(self) -> None:
        """Free what is not needed any more, and make the next sandbox's namespaces ahead."""
        self._empty_trash()
        if self._wish is not None and self._life is None:
            self._prepare(self._wish)
            self._wish = None
        while self._builders:
            os.waitpid(self._builders.pop(), 0)

    def _prepare(self, next_id: int) -> None:
        if self._ready is not None:
            _close_all(self._ready.namespaces)
            self._ready = None
        ids = (next_id, next_id) if self._house.own_ids else None
        with contextlib.suppress(OSError):  # whoever opens the next sandbox is told
            self._ready = _Ready(ids, self._build("", ids))

    def _empty_trash(self) -> None:
        trash = self._trash if self._life is None else [*self._trash, *self._life.workspace.trash]
        for layer in trash:
            layers.drop(layer)
        self._trash.clear()
        if self._life is not None:
            self._life.workspace.trash.clear()

    def _close(self, request: dict[str, Any]) -> tuple[dict[str, Any], list[int]]:
        if self._life is not None:
            self._end_cells()
            self._life.workspace.close()
            self._trash += self._life.workspace.trash
            _close_all(self._life.namespaces)
            self._life = None
        self._trash += request.get("drop", [])
        self._wish = request.get("next_id")
        return {}, []

    def _end_cells(self) -> None:
        for pid in self._opened().cells:
            _end(pid)
        self._opened().cells.clear()

    def _opened(self) -> _Life:
        if self._life is None:
            why = "its time to live is over" if self._expired else "it is not open"
            raise OSError(f"the sandbox is gone: {why}")
        return self._life


def begin(sock: socket.socket, name: str, house: House, group: Group | None) -> NoReturn:
    """Runs in a process forked by the warden."""
    code = 1
    try:
        kernel.die_with_parent(signal.SIGKILL)
        os.makedirs(name)
        if group is not None:
            group.attach(0)
        Keeper(sock, name, house, group).work()
        code = 0
    finally:
        os._exit(code)


def _close_all(fds: dict[str, int]) -> None:
    for fd in fds.values():
        os.close(fd)


def _end(pid: int) -> None:
    """Kill a cell; the kernel then kills all that lives in its pid namespace before it can be collected."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):  # collected before
        os.waitpid(pid, 0)
