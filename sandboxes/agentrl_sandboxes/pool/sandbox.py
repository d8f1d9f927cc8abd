"""A sandbox that a pool holds, and its sessions and snapshots."""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Literal

from agentrl import (
    Command,
    ConfigError,
    ExecResult,
    FileTree,
    Output,
    Sandbox,
    SandboxFault,
    SandboxSession,
    SandboxSnapshot,
    SandboxSpec,
)
from agentrl_sandboxes.inside.sessions import text_bytes
from agentrl_sandboxes.pool.connection import Connection
from agentrl_sandboxes.pool.messages import PoolAnswer, PoolRequest, command_data, index_of, split_files
from agentrl_sandboxes.supervised.taken import checked

_GRACE_S = 120.0  # an answer that is this late, on top of the program's own time, is lost
_CLOSE_S = 30.0


class PoolSnapshot(SandboxSnapshot):
    """A snapshot that the pool keeps."""

    def __init__(self, connection: Connection, number: int) -> None:
        self.connection, self.number = connection, number
        weakref.finalize(self, connection.forgotten.append, number)


@dataclass(frozen=True)
class Maker:
    """What a sandbox needs of whoever made it."""

    url: str
    fork: Callable[[PoolSandbox], PoolSandbox]  # tried again while the pool is busy


class PoolSandbox(Sandbox):
    """See `agentrl.Sandbox`; made by `Pool.create`."""

    def __init__(self, maker: Maker, connection: Connection, number: int, spec: SandboxSpec) -> None:
        """`number` names it to the pool."""
        self.spec, self.abilities = spec, frozenset(connection.handshake["abilities"])
        self.connection = connection
        self._maker, self._number = maker, number
        self._lock = threading.Lock()
        self._closed = False

    def run(self, command: Command, *, on_output: Output | None = None) -> ExecResult:
        answer, _ = self.ask(
            {"do": "run", "command": command_data(command), "listens": on_output is not None},
            command.stdin, timeout_s=self.patience_s(command.timeout_s), on_output=on_output,
        )  # fmt: skip
        return ExecResult.from_data(answer["result"])

    def session(
        self, kind: Literal["python", "shell"], *, cwd: str = "", env: Mapping[str, str] | None = None
    ) -> SandboxSession:
        answer, _ = self.ask({"do": "session", "kind": kind, "cwd": cwd, "env": dict(env or {})})
        return _PoolSession(self, kind, answer["session"])

    def put_tree(self, files: Mapping[str, bytes], *, executable: Collection[str] = ()) -> None:
        request: PoolRequest = {"do": "put", "files": index_of(files), "executable": list(executable)}
        self.ask(request, b"".join(files.values()))

    def get_tree(self, *paths: str, max_mib: float = 64.0, max_files: int = 10_000) -> FileTree:
        answer, payload = self.ask({"do": "get", "paths": list(paths), "max_mib": max_mib, "max_files": max_files})
        tree = FileTree(split_files(answer["files"], payload), answer["refused"])
        return checked(tree, paths, int(max_mib * 2**20), max_files)

    def snapshot(self) -> SandboxSnapshot:
        return PoolSnapshot(self.connection, self.ask({"do": "snapshot"})[0]["snapshot"])

    def restore(self, snapshot: SandboxSnapshot) -> None:
        if not isinstance(snapshot, PoolSnapshot) or snapshot.connection is not self.connection:
            raise ConfigError("this snapshot is of another sandbox: it can be restored there and in forks of it")
        self.ask({"do": "restore", "snapshot": snapshot.number})

    def fork(self) -> PoolSandbox:
        return self._maker.fork(self)

    def reset(self) -> None:
        self.ask({"do": "reset"})

    def grade(self) -> dict[str, object]:
        return {**self.ask({"do": "grade"})[0]["grade"], "pool": self._maker.url}

    def close(self) -> None:
        with self._lock:
            if self._closed:
                return
            self._closed = True
        with contextlib.suppress(SandboxFault):  # the worker is gone, and the sandbox with it
            self.connection.ask({"do": "close", "sandbox": self._number}, timeout_s=_CLOSE_S)
        self.connection.leave()

    def ask(
        self, request: PoolRequest, payload: bytes = b"", *, timeout_s: float = 300.0, on_output: Output | None = None
    ) -> tuple[PoolAnswer, bytes]:
        """A request about this sandbox. Raises what the pool raised, and SandboxFault when it is gone."""
        if self._closed:
            raise SandboxFault("this sandbox is closed")
        self.connection.tell_forgotten()
        about: PoolRequest = {**request, "sandbox": self._number}
        return self.connection.ask(about, payload, timeout_s=timeout_s, on_output=on_output)

    def patience_s(self, timeout_s: float | None) -> float:
        """How long an answer may take: a pool that is later is lost."""
        return min(timeout_s or self.spec.limits.wall_s, self.spec.limits.wall_s) + _GRACE_S


class _PoolSession(SandboxSession):
    def __init__(self, sandbox: PoolSandbox, kind: str, number: int) -> None:
        self.kind = kind
        self._sandbox, self._number = sandbox, number
        self._closed = False

    def run(self, code: str, *, timeout_s: float | None = None) -> ExecResult:
        request: PoolRequest = {"do": "call", "session": self._number, "timeout_s": timeout_s}
        payload = text_bytes(code)
        answer, _ = self._sandbox.ask(request, payload, timeout_s=self._sandbox.patience_s(timeout_s))
        return ExecResult.from_data(answer["result"])

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            with contextlib.suppress(SandboxFault):  # it ended with its sandbox
                self._sandbox.ask({"do": "end_session", "session": self._number})
