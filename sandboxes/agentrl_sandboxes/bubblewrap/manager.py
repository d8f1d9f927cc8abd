"""The near side of the warden and its keepers: starts them, asks them, and notices when they are gone."""

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
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from agentrl import ConfigError, SandboxFault

_ROOM = str(Path(__file__).resolve().parents[2])
_START = f"import sys; sys.path.insert(0, {_ROOM!r}); from agentrl_sandboxes.inside import warden; sys.path.remove({_ROOM!r}); warden.main()"
_START_S, _ANSWER_S = 30.0, 120.0
_OLDEST_PYTHON = (3, 9)


@dataclass(frozen=True)
class WardenSettings:
    """What a warden is started with; crosses the process border as JSON."""

    bwrap: str
    python: str
    python_folders: tuple[str, ...]
    preload: tuple[str, ...]
    overlay: bool
    cgroups: bool
    folder: str


class Keeper:
    """One keeper process, asked through a socket. Requests wait for each other."""

    def __init__(self, sock: socket.socket, name: str) -> None:
        self.name = name
        self.next_id: int | None = None  # what it has made namespaces ahead for
        self._sock = sock
        self._lock = threading.Lock()
        sock.settimeout(_ANSWER_S)

    def ask(self, do: str, **request: Any) -> tuple[dict[str, Any], list[int]]:
        """The answer and the descriptors that came with it. Raises SandboxFault when the keeper fails or is gone."""
        message = json.dumps({"do": do, **request}).encode()
        with self._lock:
            answer, fds = _exchange(self._sock, message, f"the keeper {self.name}")
        if "fault" in answer:
            raise SandboxFault(str(answer["fault"]))
        return answer, fds

    def alive(self) -> bool:
        """Whether it is still there; one that holds nothing never speaks first."""
        return not select.select([self._sock], [], [], 0)[0]

    def close(self) -> None:
        """Let it go: it ends everything it keeps, then itself."""
        self._sock.close()


class Warden:
    """One warden process, started on construction."""

    def __init__(self, settings: WardenSettings) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 it lives as long as the warden
        self._lock = threading.Lock()
        self._sock = ours
        with theirs:
            self._process = subprocess.Popen(
                [settings.python, "-I", "-c", _START],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=self._errors,
                env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
                cwd="/",
                start_new_session=True,
            )
        ours.settimeout(_START_S)
        try:
            facts, _ = _exchange(ours, json.dumps(asdict(settings)).encode(), "the warden")
        except SandboxFault as fault:
            self.close()
            raise SandboxFault(f"{fault} {self._last_words()}") from None
        if "fault" in facts:
            self.close()
            raise SandboxFault(f"no sandbox can be made here: {facts['fault']}")
        ours.settimeout(_ANSWER_S)
        self.facts: dict[str, Any] = facts
        self.pid = self._process.pid
        self.owner = os.getpid()

    def hire(self) -> Keeper:
        """A new keeper."""
        with self._lock:
            answer, fds = _exchange(self._sock, b'{"do": "keeper"}', f"the warden (process {self.pid})")
        if "fault" in answer or not fds:
            raise SandboxFault(f"the warden could not start a keeper: {answer}")
        return Keeper(socket.socket(fileno=fds[0]), answer["name"])

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

    def _last_words(self) -> str:
        self._errors.seek(0)
        return self._errors.read().decode(errors="replace")[-2000:].strip()


def find_python(wanted: str) -> tuple[str, tuple[str, ...]]:
    """The Python that runs in sandboxes, and the folders it needs. The system's own, if no other is wanted.

    Raises ConfigError for one that does not run or is too old.
    """
    candidates = [wanted] if wanted else ["/usr/bin/python3", getattr(sys, "_base_executable", sys.executable)]
    said = ""
    for candidate in candidates:
        path = shutil.which(candidate) or candidate
        said = _python_facts(path)
        if said.startswith("["):
            version, folders = json.loads(said)
            if tuple(version) >= _OLDEST_PYTHON:
                return path, tuple(sorted({os.path.dirname(os.path.dirname(path)), *folders} - {"/", "/usr"}))
            said = f"{path} is Python {version}, and at least {_OLDEST_PYTHON} is needed"
    raise ConfigError(f"no Python for sandboxes: {said}. Name another with the setting `python`.")


def _python_facts(path: str) -> str:
    code = "import json, sys; print(json.dumps([sys.version_info[:2], [sys.prefix, sys.base_prefix]]))"
    try:
        done = subprocess.run([path, "-I", "-c", code], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{path} does not run: {error}"
    return done.stdout.strip() or f"{path} does not run: {done.stderr.strip()[-300:]}"


def _exchange(sock: socket.socket, message: bytes, who: str) -> tuple[dict[str, Any], list[int]]:
    try:
        sock.send(message)
        answer, fds, _, _ = socket.recv_fds(sock, 2**17, 1)
    except TimeoutError as error:
        raise SandboxFault(f"{who} did not answer in {sock.gettimeout():g} s") from error
    except OSError as error:
        raise SandboxFault(f"{who} is gone: {error}") from error
    if not answer:
        raise SandboxFault(f"{who} ended unexpectedly")
    for fd in fds:
        os.set_inheritable(fd, False)
    return json.loads(answer), list(fds)
