"""One bubblewrap sandbox: cells to run programs in, a workspace of layers, and the keeper that holds both."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

from agentrl import (
    ConfigError,
    DataError,
    SandboxFault,
    SandboxSnapshot,
    SandboxSpec,
)
from agentrl_sandboxes.bubblewrap.keepers import Keepers
from agentrl_sandboxes.bubblewrap.layers import LayerSnapshot
from agentrl_sandboxes.bubblewrap.manager import Keeper
from agentrl_sandboxes.supervised.jobs import environment, job_limits, read_result
from agentrl_sandboxes.supervised.sandbox import CellSandbox
from agentrl_sandboxes.supervised.supervisor import Cell, CellGone

_PLACES = ("workspace", "tmp", "home/agent", "dev/shm")
_LAYER_PLACES = {"workspace": "workspace", "tmp": "tmp", "home/agent": "home", "dev/shm": "shm"}


class BubblewrapSandbox(CellSandbox):
    """See `agentrl.Sandbox`; made by `Bubblewrap.create`."""

    def __init__(
        self,
        keepers: Keepers,
        keeper: Keeper,
        spec: SandboxSpec,
        identity: int,
        base: Sequence[str],
        *,
        abilities: frozenset[str],
        fork: Callable[[SandboxSpec, int, Sequence[str]], BubblewrapSandbox],
        measure: Callable[[BubblewrapSandbox], dict[str, Any]],
    ) -> None:
        """`base`: frozen layers to begin with. `fork` makes a sandbox that begins with others; `measure` gives the grade."""
        super().__init__(spec, abilities, warm=not spec.root)  # its library may be missing in another root
        self._keepers, self._fork, self._measure = keepers, fork, measure
        self._identity = identity
        self._lowers: tuple[str, ...] = tuple(base)
        self._keeper = keeper
        self._book, self._identities = keepers.book, keepers.identities
        self._book.hold(self._lowers)
        try:
            answer, fds = self._keeper.ask("open", **self._opening(base))
        except SandboxFault:
            self._book.release(self._lowers)
            raise
        self._idle.append(Cell(fds[0], answer["pid"], 0))

    def _opening(self, base: Sequence[str]) -> dict[str, Any]:
        limits = job_limits(self.spec.limits, None)
        limits["disk_bytes"] = int(self.spec.limits.disk_mib * 2**20)
        return {
            "id": self._identity,
            "root": self.spec.root,
            "profile": self.spec.profile,
            "limits": limits,
            "base": list(base),
            "ttl_s": self.spec.ttl_s,
            "env": environment(self._keepers.python, self.spec.env),
        }

    def snapshot(self) -> SandboxSnapshot:
        with self._lock:
            self._check_open()
            stack = self._copied() if self._busy else self._frozen()
            return LayerSnapshot(stack, self._identity, self._book, self._identities)

    def restore(self, snapshot: SandboxSnapshot) -> None:
        if not isinstance(snapshot, LayerSnapshot) or snapshot.identity != self._identity:
            raise ConfigError(
                "this snapshot is of another sandbox: it can be restored there and in forks of it. "
                "Move files between sandboxes with get_tree and put_tree."
            )
        self._remount(list(snapshot.stack))

    def fork(self) -> BubblewrapSandbox:
        snapshot = self.snapshot()
        assert isinstance(snapshot, LayerSnapshot)
        return self._fork(self.spec, self._identity, snapshot.stack)

    def reset(self) -> None:
        self._remount(None)

    def __del__(self) -> None:
        with contextlib.suppress(Exception):  # it was never opened, or the interpreter is going down
            self.close()

    def host_identity(self) -> dict[str, Any]:
        """`uid` and `groups` of the programs here as the host sees them."""
        cell = self._take()
        try:
            cell.greet()
            return self._keeper.ask("whose", pid=cell.pid)[0]
        finally:
            self._put_back(cell)

    def grade(self) -> dict[str, Any]:
        return self._measure(self)

    def close(self) -> None:
        with self._lock:
            if self._closed:
                return
            self._closed = True
            cells = [*self._idle, *self._busy]
            self._idle.clear()
        for cell in cells:
            cell.close()
        self._book.release(self._lowers)
        dead = self._book.dead()
        try:
            self._keeper.ask("close", next_id=self._keepers.foresee(self._keeper), drop=dead)
            self._keepers.take_back(self._keeper)
        except SandboxFault:  # it is gone already, and what it kept with it
            self._book.still_dead(dead)
            self._keepers.discard(self._keeper)
        self._identities.give_back(self._identity)

    def _end_cell(self, cell: Cell) -> dict[str, Any]:
        return self._keeper.ask("end_cell", pid=cell.pid)[0]

    def _new_cell(self, show: str = "") -> Cell:
        answer, fds = self._keeper.ask("cell", show=show)
        return Cell(fds[0], answer["pid"], self._generation)

    def _frozen(self) -> list[str]:
        answer, _ = self._keeper.ask("freeze")
        if answer["ended"]:
            self._drop_idle()
        self._now_above(answer["lowers"])
        return list(answer["stack"])

    def _copied(self) -> list[str]:
        """A frozen copy, made beside programs that are running and keep their files."""
        answer, _ = self._keeper.ask("copy_layer")
        cell = self._new_cell(show=answer["layer"])
        pairs = [[f"/{place}", f"/mnt/{_LAYER_PLACES[place]}"] for place in _PLACES]
        try:
            header, data = cell.run(self._trusted_job("copy", 2**16), {"copy": pairs})
        except CellGone as error:
            raise SandboxFault(f"the snapshot failed: {error}") from error
        finally:
            cell.close()
            self._keeper.ask("end_cell", pid=cell.pid)
        result = read_result(header, data)
        if not result.ok:
            raise DataError(f"no snapshot: {result.stderr.text.strip() or result.status}")
        return [answer["layer"]]

    def _remount(self, stack: list[str] | None) -> None:
        with self._lock:
            self._check_open()
            self._generation += 1
            self._drop_idle()
            answer, _ = self._keeper.ask("remount", stack=stack)
            self._now_above(answer["lowers"])

    def _now_above(self, lowers: Sequence[str]) -> None:
        self._book.hold(lowers)
        self._book.release(self._lowers)
        self._lowers = tuple(lowers)
        dead = self._book.dead()
        if dead:
            self._keeper.ask("drop", layers=dead)
