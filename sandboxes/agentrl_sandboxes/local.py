"""local: a plain subprocess and no protection at all, for code that you trust as you trust your own."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import agentrl
from agentrl import (
    Command,
    ConfigError,
    DataError,
    ExecResult,
    ExecUsage,
    FileTree,
    Output,
    OutputStream,
    Sandbox,
    SandboxFault,
    SandboxProvider,
    SandboxSpec,
)
from agentrl_sandboxes.inside import files as inside_files
from agentrl_sandboxes.inside import trees
from agentrl_sandboxes.inside.files import Places
from agentrl_sandboxes.streams import Streams

CONFIRMATION = "AGENTRL_ALLOW_LOCAL_SANDBOX"


@agentrl.hookimpl
def register_sandboxes(register: agentrl.Register) -> None:
    register("local", Local)


class Local(SandboxProvider):
    """Runs programs as yourself. Refused unless `trusted = true` and AGENTRL_ALLOW_LOCAL_SANDBOX=1 say so both."""

    name = "local"
    abilities = frozenset({"network"})

    def __init__(self, *, trusted: bool = False) -> None:
        """`trusted`: you wrote or read every program that will run here."""
        self._trusted = trusted
        self._open: set[LocalSandbox] = set()

    def create(self, spec: SandboxSpec | None = None) -> LocalSandbox:
        spec = spec or SandboxSpec(network="open")
        obstacle = self.obstacle()
        if obstacle:
            raise ConfigError(obstacle)
        self.check_spec(spec)
        sandbox = LocalSandbox(spec, self._open.discard)
        self._open.add(sandbox)
        return sandbox

    def obstacle(self) -> str:
        missing = [] if self._trusted else ["set `trusted = true` for it in the run file"]
        if os.environ.get(CONFIRMATION) != "1":
            missing.append(f"set the environment variable {CONFIRMATION}=1")
        if not missing:
            return ""
        return (
            "the sandbox `local` protects nothing: programs run as you, with your files and your network. "
            f"If they are all trusted, {' and '.join(missing)}; else use `bubblewrap` or `docker`."
        )

    def close(self) -> None:
        for sandbox in list(self._open):
            sandbox.close()


class LocalSandbox(Sandbox):
    """A folder, and subprocesses that start in it."""

    def __init__(self, spec: SandboxSpec, when_closed: Callable[[LocalSandbox], None]) -> None:
        self.spec = spec
        self.abilities = Local.abilities
        self._when_closed = when_closed
        self._folder = Path(tempfile.mkdtemp(prefix="agentrl-local-"))
        self._running: set[int] = set()
        self._lock = threading.Lock()
        self._closed = False

    def run(self, command: Command, *, on_output: Output | None = None) -> ExecResult:
        if self._closed:
            raise SandboxFault("this sandbox is closed")
        variables = {**os.environ, **self.spec.env, **command.env}
        began = time.monotonic()
        try:
            process = subprocess.Popen(
                command.argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                cwd=self._folder / command.cwd, env=variables, start_new_session=True,
            )  # fmt: skip
        except FileNotFoundError as error:
            return ExecResult("exited", 127, stderr=_message(f"{error.filename}: not found"))
        except (OSError, ValueError) as error:  # what a model wrote may be nothing that a program can be given
            return ExecResult("exited", 126, stderr=_message(str(error)))
        with self._lock:
            self._running.add(process.pid)
        try:
            return self._supervise(process, command, on_output, began)
        finally:
            with self._lock:
                self._running.discard(process.pid)

    def put_tree(self, files: Mapping[str, bytes], *, executable: Collection[str] = ()) -> None:
        for path in (path for path in files if path.startswith("/")):
            raise DataError(f"not written: {path!r} is outside the workspace")
        entries = [(path, len(data), 0o755 if path in executable else 0o644) for path, data in files.items()]
        refused = inside_files.put(Places(str(self._folder)), entries, b"".join(files.values()))
        if refused:
            raise DataError("not written: " + "; ".join(f"{path!r} is {why}" for path, why in sorted(refused.items())))

    def get_tree(self, *paths: str, max_mib: float = 64.0, max_files: int = 10_000) -> FileTree:
        outside = {path: "outside the workspace" for path in paths if path.startswith("/")}
        wanted = [path for path in paths or (".",) if path not in outside]
        reading = inside_files.Reading(int(max_mib * 2**20), max_files)
        files = dict(reading.files(Places(str(self._folder)), wanted))
        return FileTree(files, {**reading.refused, **outside})

    def reset(self) -> None:
        self._kill_all()
        trees.empty(str(self._folder))

    def grade(self) -> dict[str, object]:
        return {
            "sandbox": "local",
            "level": "none",
            "namespaces": [],
            "uid": {"inside": os.getuid(), "host": os.getuid(), "groups": [str(group) for group in os.getgroups()]},
            "seccomp": None,
            "network": "open",
            "limits": {"wall": "process group", "output": "reader"},
        }

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._kill_all()
            with contextlib.suppress(OSError):  # a program that goes on may write there still
                trees.empty(str(self._folder))
                self._folder.rmdir()
            self._when_closed(self)

    def _supervise(
        self, process: subprocess.Popen[bytes], command: Command, on_output: Output | None, began: float
    ) -> ExecResult:
        limits = self.spec.limits
        wall_s = min(math.inf if command.timeout_s is None else command.timeout_s, limits.wall_s)
        streams = Streams(process, command.stdin, int(limits.output_kib * 1024), on_output)
        try:
            reason = streams.run(began + wall_s, int(limits.flood_mib * 2**20))
        finally:  # whoever listens to the output may raise anything
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            status = process.wait()
        streams.drain()
        usage = ExecUsage(wall_s=time.monotonic() - began)
        code, number = (status, None) if status >= 0 else (None, -status)
        ended = reason or ("exited" if status >= 0 else "signalled")
        return ExecResult(ended, code, number, streams.output("stdout"), streams.output("stderr"), usage)

    def _kill_all(self) -> None:
        with self._lock:
            for pid in self._running:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGKILL)


def _message(text: str) -> OutputStream:
    data = f"{text}\n".encode()
    return OutputStream(data, b"", len(data))
