"""A sandbox whose programs are supervised by cells: everything that does not depend on how a cell comes to be."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import threading
from abc import abstractmethod
from collections.abc import Collection, Mapping
from typing import Any, Literal

from agentrl import (
    Command,
    ConfigError,
    DataError,
    ExecResult,
    FileTree,
    Output,
    Sandbox,
    SandboxFault,
    SandboxSession,
    SandboxSpec,
)
from agentrl_sandboxes.supervised.jobs import job_limits, read_result
from agentrl_sandboxes.supervised.supervisor import Cell, CellGone

_LARGEST_GET_BYTES = 2**30


class CellSandbox(Sandbox):
    """Runs each program in a cell that nobody else uses meanwhile."""

    def __init__(self, spec: SandboxSpec, abilities: frozenset[str], warm: bool) -> None:
        """`warm`: whether `python` can fork the cell's own interpreter."""
        self.spec, self.abilities, self._warm = spec, abilities, warm
        self._lock = threading.Lock()
        self._idle: list[Cell] = []
        self._busy: set[Cell] = set()
        self._generation = 0
        self._closed = False

    @abstractmethod
    def _new_cell(self) -> Cell:
        """Another cell; called with the lock held."""

    @abstractmethod
    def _end_cell(self, cell: Cell) -> dict[str, Any]:
        """End a cell with all that runs there, and say why it was gone, if it was: see `_why_gone`."""

    def run(self, command: Command, *, on_output: Output | None = None) -> ExecResult:
        limits = job_limits(self.spec.limits, command.timeout_s)
        warm = command.snippet and self._warm
        job = {"kind": "python" if warm else "argv", **_place(command.cwd), "limits": limits, "stream": bool(on_output)}
        what = {"code": command.argv[2], "args": command.argv[3:]} if warm else {"argv": command.argv}
        return self._run(job, {**what, "env": dict(command.env)}, command.stdin, on_output)

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

    def _trusted(self, kind: str, private: dict[str, Any], payload: bytes, head: int) -> ExecResult:
        """Run code of our own in here, as the program's user: at worst it sees what the program could see anyway."""
        return self._run(self._trusted_job(kind, head), private, payload)

    def _trusted_job(self, kind: str, head: int) -> dict[str, Any]:
        limits = job_limits(dataclasses.replace(self.spec.limits, file_mib=self.spec.limits.disk_mib), None)
        limits.update(head=head, tail=0, flood_bytes=head + 2**20)
        return {"kind": kind, **_place(""), "limits": limits}

    def _run(
        self, job: dict[str, Any], private: dict[str, Any], payload: bytes, on_output: Output | None = None
    ) -> ExecResult:
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

    def _put_back(self, cell: Cell) -> None:
        with self._lock:
            self._busy.discard(cell)
            if cell.clean and cell.generation == self._generation and not self._closed:
                self._idle.append(cell)
                return
        cell.close()
        if not self._closed:
            with contextlib.suppress(SandboxFault):  # whoever asks next will be told
                self._end_cell(cell)

    def _why_gone(self, cell: Cell) -> ExecResult:
        """The result of a run whose supervisor vanished. Raises SandboxFault unless that is the program's own doing."""
        if self._closed:
            return ExecResult("killed", reason="the sandbox was closed meanwhile")
        if cell.generation != self._generation:
            return ExecResult("killed", reason="the sandbox was reset or restored meanwhile")
        answer = self._end_cell(cell)
        if answer["expired"]:
            raise SandboxFault(f"the sandbox's time to live ({self.spec.ttl_s:g} s) was over during this run")
        if answer["out_of_memory"]:
            return ExecResult("out_of_memory", reason="the supervisor went down with the program")
        if answer.get("crowded"):
            return ExecResult("too_many_processes", reason="there was no room for a supervisor either")
        if answer.get("signal"):
            return ExecResult("signalled", signal=answer["signal"], reason="a program here killed its own supervisor")
        raise SandboxFault("the supervisor of this run ended unexpectedly")

    def _drop_idle(self) -> None:
        for cell in self._idle:
            cell.close()
        self._idle.clear()

    def _check_open(self) -> None:
        if self._closed:
            raise SandboxFault("this sandbox is closed")


def _place(cwd: str) -> dict[str, str]:
    return {"cwd": cwd if cwd.startswith("/") else f"/workspace/{cwd}"}


class _Session(SandboxSession):
    def __init__(self, sandbox: CellSandbox, kind: str, surroundings: dict[str, Any]) -> None:
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
