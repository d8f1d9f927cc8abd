"""One bubblewrap sandbox: cells to run programs in, a workspace of layers, and the keeper that holds both."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import threading
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from agentrl import (
    ConfigError,
    DataError,
    ExecResult,
    FileTree,
    Sandbox,
    SandboxFault,
    SandboxSession,
    SandboxSnapshot,
    SandboxSpec,
)
from agentrl_sandboxes.cells import Cell, CellGone, environment, job_limits, read_result
from agentrl_sandboxes.snapshots import LayerSnapshot
from agentrl_sandboxes.wardens import Keeper

if TYPE_CHECKING:
    from agentrl_sandboxes.bubblewrap import Bubblewrap

_PLACES = ("workspace", "tmp", "home/agent", "dev/shm")
_LAYER_PLACES = {"workspace": "workspace", "tmp": "tmp", "home/agent": "home", "dev/shm": "shm"}
_LARGEST_GET_BYTES = 2**30


class BubblewrapSandbox(Sandbox):
    """See `agentrl.Sandbox`; made by `Bubblewrap.create`."""

    def __init__(
        self, provider: Bubblewrap, keeper: Keeper, spec: SandboxSpec, identity: int, base: Sequence[str]
    ) -> None:
        self.spec = spec
        self.abilities = provider.abilities
        self._provider = provider
        self._identity = identity
        self._lowers: tuple[str, ...] = tuple(base)
        self._lock = threading.Lock()
        self._idle: list[Cell] = []
        self._busy: set[Cell] = set()
        self._generation = 0
        self._closed = False
        self._keeper = keeper
        self._book, self._identities = provider.book, provider.identities
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
            "env": environment(self._provider.python, self.spec.env),
        }

    def exec(
        self,
        command: Sequence[str] | str,
        *,
        stdin: bytes = b"",
        cwd: str = "",
        env: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
        on_output: Any = None,
    ) -> ExecResult:
        argv = ["sh", "-c", command] if isinstance(command, str) else [str(part) for part in command]
        if not argv:
            raise ConfigError("an empty command; give a program and its arguments, or a line for the shell")
        return self._program("argv", {"argv": argv}, stdin, cwd, env, timeout_s, on_output)

    def python(
        self,
        code: str,
        *,
        args: Sequence[str] = (),
        stdin: bytes = b"",
        cwd: str = "",
        env: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
        on_output: Any = None,
    ) -> ExecResult:
        if self.spec.root:  # the warm interpreter's library may be missing in another root
            return super().python(
                code, args=args, stdin=stdin, cwd=cwd, env=env, timeout_s=timeout_s, on_output=on_output
            )
        return self._program("python", {"code": code, "args": list(args)}, stdin, cwd, env, timeout_s, on_output)

    def session(
        self, kind: Literal["python", "shell"], *, cwd: str = "", env: Mapping[str, str] | None = None
    ) -> SandboxSession:
        if kind not in ("python", "shell"):
            raise ConfigError(f"there is no session of kind {kind!r}; there are 'python' and 'shell'")
        return _Session(self, kind, {**_place(cwd), "env": dict(env or {})})

    def put_tree(self, files: Mapping[str, bytes], *, executable: Collection[str] = ()) -> None:
        entries = [[path, len(data), 0o755 if path in executable else 0o644] for path, data in files.items()]
        result = self._trusted("put", {"files": entries}, b"".join(files.values()), head=2**24)
        refused = json.loads(result.stdout.head) if result.ok else {"all": result.stderr.text.strip() or result.status}
        if refused:
            raise DataError("not written: " + "; ".join(f"{path!r} is {why}" for path, why in sorted(refused.items())))

    def get_tree(self, *paths: str, max_mib: float = 64.0, max_files: int = 10_000) -> FileTree:
        max_bytes = min(int(max_mib * 2**20), _LARGEST_GET_BYTES)
        wanted = {"paths": list(paths or ["."]), "max_bytes": max_bytes, "max_files": max_files}
        result = self._trusted("get", wanted, b"", head=max_bytes + 2**26)
        if not result.ok:
            raise SandboxFault(f"files could not be read: {result.status} {result.stderr.text.strip()}")
        line, _, contents = result.stdout.head.partition(b"\n")
        index = json.loads(line)
        files, at = {}, 0
        for path, size in index["files"]:
            files[path] = contents[at : at + size]
            at += size
        return FileTree(files, index["refused"])

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
        return self._provider.adopt(self.spec, self._identity, snapshot.stack)

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
        return self._provider.measure(self)

    def close(self) -> None:
        with self._lock:
            if self._closed:
                return
            self._closed = True
            cells = [*self._idle, *self._busy]
            self._idle.clear()
        for cell in cells:
            cell.close()
        try:
            self._keeper.ask("close", next_id=self._provider.foresee(self._keeper))
            self._provider.take_back(self._keeper)
        except SandboxFault:  # it is gone already, and what it kept with it
            self._provider.discard(self._keeper)
        self._book.release(self._lowers)
        self._identities.give_back(self._identity)

    def _program(
        self,
        kind: str,
        private: dict[str, Any],
        stdin: bytes,
        cwd: str,
        env: Mapping[str, str] | None,
        timeout_s: float | None,
        on_output: Any,
    ) -> ExecResult:
        limits = job_limits(self.spec.limits, timeout_s)
        job = {"kind": kind, **_place(cwd), "limits": limits, "stream": on_output is not None}
        return self._run(job, {**private, "env": dict(env or {})}, stdin, on_output)

    def _trusted(self, kind: str, private: dict[str, Any], payload: bytes, head: int) -> ExecResult:
        """Run code of our own in here, as the program's user: at worst it sees what the program could see anyway."""
        return self._run(self._trusted_job(kind, head), private, payload)

    def _trusted_job(self, kind: str, head: int) -> dict[str, Any]:
        limits = job_limits(dataclasses.replace(self.spec.limits, file_mib=self.spec.limits.disk_mib), None)
        limits.update(head=head, tail=0, flood_bytes=head + 2**20)
        return {"kind": kind, **_place(""), "limits": limits}

    def _run(self, job: dict[str, Any], private: dict[str, Any], payload: bytes, on_output: Any = None) -> ExecResult:
        cell = self._take()
        try:
            return read_result(*cell.run(job, private, payload, on_output))
        except CellGone:
            return self._why_gone(cell)
        finally:
            self._put_back(cell)

    def _take(self) -> Cell:
        with self._lock:
            self._check_open()
            cell = self._idle.pop() if self._idle else self._new_cell()
            self._busy.add(cell)
            return cell

    def _new_cell(self, show: str = "") -> Cell:
        answer, fds = self._keeper.ask("cell", show=show)
        return Cell(fds[0], answer["pid"], self._generation)

    def _put_back(self, cell: Cell) -> None:
        with self._lock:
            self._busy.discard(cell)
            if cell.clean and cell.generation == self._generation and not self._closed:
                self._idle.append(cell)
                return
        cell.close()
        if not self._closed:
            with contextlib.suppress(SandboxFault):  # whoever asks next will be told
                self._keeper.ask("end_cell", pid=cell.pid)

    def _why_gone(self, cell: Cell) -> ExecResult:
        """The result of a run whose supervisor vanished. Raises SandboxFault unless that is the program's own doing."""
        if self._closed:
            return ExecResult("killed", reason="the sandbox was closed meanwhile")
        if cell.generation != self._generation:
            return ExecResult("killed", reason="the sandbox was reset or restored meanwhile")
        answer, _ = self._keeper.ask("end_cell", pid=cell.pid)
        if answer["expired"]:
            raise SandboxFault(f"the sandbox's time to live ({self.spec.ttl_s:g} s) was over during this run")
        if answer["out_of_memory"]:
            return ExecResult("out_of_memory", reason="the supervisor went down with the program")
        raise SandboxFault("the supervisor of this run ended unexpectedly")

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

    def _drop_idle(self) -> None:
        for cell in self._idle:
            cell.close()
        self._idle.clear()

    def _now_above(self, lowers: Sequence[str]) -> None:
        self._book.hold(lowers)
        self._book.release(self._lowers)
        self._lowers = tuple(lowers)
        dead = self._book.dead()
        if dead:
            self._keeper.ask("drop", layers=dead)

    def _check_open(self) -> None:
        if self._closed:
            raise SandboxFault("this sandbox is closed")


def _place(cwd: str) -> dict[str, str]:
    return {"cwd": cwd if cwd.startswith("/") else f"/workspace/{cwd}"}


class _Session(SandboxSession):
    def __init__(self, sandbox: BubblewrapSandbox, kind: str, surroundings: dict[str, Any]) -> None:
        self.kind = kind
        self._sandbox, self._surroundings = sandbox, surroundings
        self._cell: Cell | None = None
        self._lock = threading.Lock()
        self._calls = 0

    def run(self, code: str, *, timeout_s: float | None = None) -> ExecResult:
        with self._lock:
            if self._cell is None or self._cell.generation != self._sandbox._generation:
                self._leave()
                self._cell = self._sandbox._take()
            limits = job_limits(self._sandbox.spec.limits, timeout_s)
            job = {"kind": f"session.{self.kind}", **self._surroundings, "limits": limits}
            try:
                header, data = self._cell.run(job, {"code": code})
            except CellGone:
                cell = self._cell
                result = self._sandbox._why_gone(cell)
                self._leave()
                return dataclasses.replace(
                    result, reason=f"{result.reason}; the session is lost, the next call starts a new one"
                )
            result = read_result(header, data)
            self._calls += 1
            return dataclasses.replace(result, reason=self._remark(header, result.reason))

    def _remark(self, header: Mapping[str, Any], reason: str) -> str:
        said = [reason] if reason else []
        if header["fresh"] and self._calls > 1:
            said.append("the session had ended since the last call: this call ran in a new one")
        if not header["alive"]:
            said.append("the session has ended: its variables are lost, and the next call starts a new one")
            self._calls = 0
        return "; ".join(said)

    def close(self) -> None:
        with self._lock:
            self._leave()

    def _leave(self) -> None:
        if self._cell is not None:
            self._cell.clean = False  # what a session has seen, nobody else is to see
            self._sandbox._put_back(self._cell)
            self._cell = None
        self._calls = 0
