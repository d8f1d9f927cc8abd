"""pool: sandboxes of another machine, offered there by `agentrl sandbox serve`."""

from __future__ import annotations

import contextlib
import os
import random
import threading
import time
import weakref
from collections.abc import Collection, Mapping
from typing import Any, Literal

from agentrl import (
    Command,
    ConfigError,
    ExecResult,
    FileTree,
    Output,
    Sandbox,
    SandboxFault,
    SandboxProvider,
    SandboxSession,
    SandboxSnapshot,
    SandboxSpec,
)
from agentrl_sandboxes.pool.connection import Link, PoolBusy
from agentrl_sandboxes.pool.messages import command_data

_GRACE_S = 120.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 2.0


class Pool(SandboxProvider):
    """Sandboxes of a pool. What they can do is what the pool's own sandboxes can, save a `root`."""

    name = "pool"

    def __init__(
        self,
        *,
        url: str = "ws://127.0.0.1:8477",
        token: str = "",
        ca: str = "",
        patience_s: float = 120.0,
        timeout_s: float = 20.0,
    ) -> None:
        """`token`: by default the variable AGENTRL_POOL_TOKEN. `ca`: a file with certificates to trust beside the system's.

        `patience_s`: how long a creation is tried again while the pool is busy; `timeout_s`: to connect.
        """
        if not url.startswith(("ws://", "wss://")):
            raise ConfigError(f"the url of a pool begins with ws:// or wss://, not {url!r}")
        self._url, self._token, self._ca = url, token, ca
        self._patience_s, self._timeout_s = patience_s, timeout_s
        self._open: weakref.WeakSet[PoolSandbox] = weakref.WeakSet()
        self._hello: dict[str, Any] = {}
        self._closed = False

    @property
    def abilities(self) -> frozenset[str]:  # type: ignore[override]
        """What the pool says of its sandboxes. Raises SandboxFault when it does not answer."""
        return frozenset(self._greet()["abilities"])

    @property
    def profiles(self) -> tuple[str, ...]:  # type: ignore[override]
        """Likewise."""
        return tuple(self._greet()["profiles"])

    def create(self, spec: SandboxSpec | None = None) -> PoolSandbox:
        spec = spec or SandboxSpec()
        if spec.root:
            raise ConfigError("the sandbox 'pool' has no 'root': that would be a directory of the pool's machine")
        until, pause = time.monotonic() + self._patience_s, _FIRST_PAUSE_S
        while True:
            try:
                return self._try(spec)
            except PoolBusy as busy:
                if time.monotonic() + pause > until:
                    raise SandboxFault(
                        f"the pool at {self._url} was busy for {self._patience_s:g} s: {busy}. Start it with more "
                        "--sandboxes, or ask for fewer at once."
                    ) from None
            time.sleep(pause * random.uniform(0.5, 1.5))
            pause = min(2 * pause, _LONGEST_PAUSE_S)

    def obstacle(self) -> str:
        try:
            self._greet()
        except (SandboxFault, ConfigError) as error:
            return f"{error} Start one there with `agentrl sandbox serve`, and name it with the settings `url` and `token`."
        return ""

    def close(self) -> None:
        self._closed = True
        for sandbox in list(self._open):
            sandbox.close()

    def adopt(self, link: Link, number: int, spec: SandboxSpec) -> PoolSandbox:
        """A sandbox that the pool has made."""
        sandbox = PoolSandbox(self, link, number, spec, frozenset(link.hello["abilities"]))
        self._open.add(sandbox)
        return sandbox

    def _try(self, spec: SandboxSpec) -> PoolSandbox:
        link = self._connect()
        try:
            header, _ = link.ask("create", {"spec": spec.to_data()})
        except BaseException:
            link.close()
            raise
        return self.adopt(link, header["sandbox"], spec)

    def _connect(self) -> Link:
        if self._closed:
            raise SandboxFault("this provider of sandboxes is closed")
        try:
            import websockets.sync.client  # noqa: F401 only whether it is there
        except ImportError:
            raise ConfigError("the sandbox 'pool' needs websockets: `pip install 'agentrl[pool]'`") from None
        link = Link(self._url, self._token or os.environ.get("AGENTRL_POOL_TOKEN", ""), self._ca, self._timeout_s)
        self._hello = link.hello
        return link

    def _greet(self) -> dict[str, Any]:
        if not self._hello:
            self._connect().close()
        return self._hello


class _Remembered(SandboxSnapshot):
    """A snapshot that the pool keeps."""

    def __init__(self, link: Link, number: int) -> None:
        self.link, self.number = link, number
        weakref.finalize(self, link.dropped.append, number)


class PoolSandbox(Sandbox):
    """See `agentrl.Sandbox`; made by `Pool.create`."""

    def __init__(self, provider: Pool, link: Link, number: int, spec: SandboxSpec, abilities: frozenset[str]) -> None:
        self.spec, self.abilities = spec, abilities
        self._provider, self._link, self._number = provider, link, number
        self._lock = threading.Lock()
        self._closed = False

    def run(self, command: Command, *, on_output: Output | None = None) -> ExecResult:
        request = {"command": command_data(command), "listens": on_output is not None}
        header, _ = self.ask("run", request, command.stdin, self.patience_s(command.timeout_s), on_output)
        return ExecResult.from_data(header["result"])

    def session(
        self, kind: Literal["python", "shell"], *, cwd: str = "", env: Mapping[str, str] | None = None
    ) -> SandboxSession:
        wanted = {"kind": kind, "cwd": cwd, "env": dict(env or {})}
        return _PoolSession(self, kind, self.ask("session", wanted)[0]["session"])

    def put_tree(self, files: Mapping[str, bytes], *, executable: Collection[str] = ()) -> None:
        index = [[path, len(data)] for path, data in files.items()]
        self.ask("put", {"files": index, "executable": list(executable)}, b"".join(files.values()))

    def get_tree(self, *paths: str, max_mib: float = 64.0, max_files: int = 10_000) -> FileTree:
        wanted = {"paths": list(paths), "max_mib": max_mib, "max_files": max_files}
        header, payload = self.ask("get", wanted)
        files, at = {}, 0
        for path, size in header["files"]:
            files[path] = payload[at : at + size]
            at += size
        return FileTree(files, header["refused"])

    def snapshot(self) -> SandboxSnapshot:
        return _Remembered(self._link, self.ask("snapshot", {})[0]["snapshot"])

    def restore(self, snapshot: SandboxSnapshot) -> None:
        if not isinstance(snapshot, _Remembered) or snapshot.link is not self._link:
            raise ConfigError("this snapshot is of another sandbox: it can be restored there and in forks of it")
        self.ask("restore", {"snapshot": snapshot.number})

    def fork(self) -> PoolSandbox:
        deadline = time.monotonic() + self._provider._patience_s
        while True:
            try:
                number = self.ask("fork", {})[0]["sandbox"]
                return self._provider.adopt(self._link.share(), number, self.spec)
            except PoolBusy as busy:
                if time.monotonic() > deadline:
                    raise SandboxFault(f"the pool was busy all the time: {busy}") from None
                time.sleep(_FIRST_PAUSE_S)

    def reset(self) -> None:
        self.ask("reset", {})

    def grade(self) -> dict[str, Any]:
        return {**self.ask("grade", {})[0]["grade"], "pool": self._provider._url}

    def close(self) -> None:
        with self._lock:
            if self._closed:
                return
            self._closed = True
        with contextlib.suppress(SandboxFault):  # the worker is gone, and the sandbox with it
            self._link.ask("close", {"sandbox": self._number}, timeout_s=30.0)
        self._link.leave()

    def ask(
        self, do: str, request: dict[str, Any], payload: bytes = b"", timeout_s: float = 300.0, on_chunk: Any = None
    ) -> tuple[dict[str, Any], bytes]:
        """A request about this sandbox."""
        if self._closed:
            raise SandboxFault("this sandbox is closed")
        self._link.tell_dropped()
        return self._link.ask(do, {"sandbox": self._number, **request}, payload, timeout_s=timeout_s, on_chunk=on_chunk)

    def patience_s(self, timeout_s: float | None) -> float:
        """How long an answer may take: a pool that is later is lost."""
        return min(timeout_s or self.spec.limits.wall_s, self.spec.limits.wall_s) + _GRACE_S


class _PoolSession(SandboxSession):
    def __init__(self, sandbox: PoolSandbox, kind: str, number: int) -> None:
        self.kind = kind
        self._sandbox, self._number = sandbox, number
        self._closed = False

    def run(self, code: str, *, timeout_s: float | None = None) -> ExecResult:
        request = {"session": self._number, "timeout_s": timeout_s}
        payload = code.encode("utf-8", "surrogateescape")
        header, _ = self._sandbox.ask("call", request, payload, self._sandbox.patience_s(timeout_s))
        return ExecResult.from_data(header["result"])

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            with contextlib.suppress(SandboxFault):  # it ended with its sandbox
                self._sandbox.ask("end_session", {"session": self._number})
