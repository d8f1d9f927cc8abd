"""This process's side of the manager and its workers: starts them, asks them, and notices when they are gone."""

from __future__ import annotations

import json
import os
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agentrl import ConfigError, DataError, SandboxFault
from agentrl_sandboxes.inside.messages import Answer, Facts, Request, Settings

_PACKAGES = str(Path(__file__).resolve().parents[2])
_START = (
    f"import sys; sys.path.insert(0, {_PACKAGES!r}); from agentrl_sandboxes.inside import launcher; "
    f"sys.path.remove({_PACKAGES!r}); launcher.main()"
)
_START_S, _ANSWER_S = 30.0, 120.0
_OLDEST_PYTHON = (3, 9)
_MANAGED_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}


class Worker:
    """One worker process, asked through a socket. Requests wait for each other."""

    def __init__(self, sock: socket.socket, name: str) -> None:
        self.name = name
        self.next_id: int | None = None  # the uid that it has made namespaces ahead for
        self._sock = sock
        self._lock = threading.Lock()
        sock.settimeout(_ANSWER_S)

    def ask(
        self, request: Request, *, stream: int = -1, meanwhile: Callable[[], object] = lambda: None
    ) -> tuple[Answer, list[int]]:
        """The answer and the descriptors that came with it. `stream` goes along, to talk through it `meanwhile`.

        Raises SandboxFault when the worker fails or is gone, DataError where a program is in its way.
        """
        with self._lock:
            message = json.dumps(request).encode()
            answer, fds = _exchange(self._sock, message, f"the worker {self.name}", stream, meanwhile)
        if "fault" in answer:
            raise SandboxFault(str(answer["fault"]))
        if "refused" in answer:
            raise DataError(str(answer["refused"]))
        return answer, fds

    def alive(self) -> bool:
        """Whether it is still there; one that holds nothing never speaks first."""
        return not select.select([self._sock], [], [], 0)[0]

    def close(self) -> None:
        """Let it go: it ends everything it keeps, then itself."""
        self._sock.close()


class Manager:
    """One manager process, started on construction. Raises SandboxFault when it does not come up."""

    def __init__(self, settings: Settings) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 it lives as long as the manager
        self._lock = threading.Lock()
        self._sock = ours
        with theirs:
            self._process = subprocess.Popen(
                [settings.python, "-I", "-c", _START], stdin=theirs.fileno(), stdout=subprocess.DEVNULL,
                stderr=self._errors, env=_MANAGED_ENVIRONMENT, cwd="/", start_new_session=True,
            )  # fmt: skip
        self.facts: Facts = self._handshake(settings)
        self.pid = self._process.pid
        self.owner = os.getpid()

    def start_worker(self) -> Worker:
        """A new worker."""
        with self._lock:
            answer, fds = _exchange(self._sock, b'{"do": "worker"}', f"the manager (process {self.pid})")
        if "fault" in answer or not fds:
            raise SandboxFault(f"the manager could not start a worker: {answer}")
        return Worker(socket.socket(fileno=fds[0]), answer["name"])

    def alive(self) -> bool:
        """Whether it is still there; it never speaks first."""
        return not select.select([self._sock], [], [], 0)[0]

    def close(self) -> None:
        """Let it go, and wait until it has removed everything; safe twice."""
        self._sock.close()
        try:
            self._process.wait(timeout=_START_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _handshake(self, settings: Settings) -> Any:
        """Settings there, facts back."""
        self._sock.settimeout(_START_S)
        try:
            facts, _ = _exchange(self._sock, json.dumps(settings._asdict()).encode(), "the manager")
        except SandboxFault as fault:
            self.close()
            raise SandboxFault(f"{fault} {self._error_output()}") from None
        if "fault" in facts:
            self.close()
            raise SandboxFault(f"no sandbox can be made here: {facts['fault']}")
        self._sock.settimeout(_ANSWER_S)
        return facts

    def _error_output(self) -> str:
        self._errors.seek(0)
        return self._errors.read().decode(errors="replace")[-2000:].strip()


def find_python(name: str) -> tuple[str, list[str]]:
    """The Python that runs in sandboxes, and the folders it needs: the named one, or the system's own for "".

    Raises ConfigError for one that does not run or is too old.
    """
    candidates = [name] if name else ["/usr/bin/python3", getattr(sys, "_base_executable", sys.executable)]
    reason = ""
    for candidate in candidates:
        path = shutil.which(candidate) or candidate
        output = _ask_python(path)
        if not output.startswith("["):
            reason = output
            continue
        version, folders = json.loads(output)
        if tuple(version) >= _OLDEST_PYTHON:
            return path, sorted({os.path.dirname(os.path.dirname(path)), *folders} - {"/", "/usr"})
        reason = f"{path} is Python {version}, and at least {_OLDEST_PYTHON} is needed"
    raise ConfigError(f"no Python for sandboxes: {reason}. Name another with the setting `python`.")


def _ask_python(path: str) -> str:
    """Its version and the folders of its files as JSON, or a sentence that says why it does not run."""
    code = "import json, sys; print(json.dumps([sys.version_info[:2], [sys.prefix, sys.base_prefix]]))"
    try:
        ended = subprocess.run([path, "-I", "-c", code], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{path} does not run: {error}"
    return ended.stdout.strip() or f"{path} does not run: {ended.stderr.strip()[-300:]}"


def _exchange(
    sock: socket.socket, message: bytes, whom: str, stream: int = -1, meanwhile: Callable[[], object] = lambda: None
) -> tuple[Any, list[int]]:
    """One message there, one back, with the descriptors that come along."""
    try:
        socket.send_fds(sock, [message], [stream] if stream >= 0 else [])
        if stream >= 0:
            os.close(stream)
        meanwhile()
        answer, fds, _, _ = socket.recv_fds(sock, 2**17, 1)
    except TimeoutError as error:
        raise SandboxFault(f"{whom} did not answer in {sock.gettimeout():g} s") from error
    except OSError as error:
        raise SandboxFault(f"{whom} is gone: {error}") from error
    if not answer:
        raise SandboxFault(f"{whom} ended unexpectedly")
    for fd in fds:
        os.set_inheritable(fd, False)
    return json.loads(answer), list(fds)
