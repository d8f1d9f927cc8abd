"""A pool of sandboxes for other machines: one address, many worker processes, replaced when they die."""

from __future__ import annotations

import contextlib
import json
import math
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field

from agentrl import ConfigError, SandboxFault
from agentrl_sandboxes.pool.messages import TOKEN_VARIABLE
from agentrl_sandboxes.pool.provider import need_libraries
from agentrl_sandboxes.pool.worker import WorkerSettings

DEFAULT_PORT = 8477

_SHORTEST_TOKEN = 16
_BACKLOG = 128
_START_S, _END_S = 60.0, 15.0
_PAUSE_S = 1.0  # before a worker that died at once is started again
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True)
class PoolSettings:
    """What a pool offers, and to whom."""

    name: str = "bubblewrap"  # the sandbox that is offered, and its settings
    settings: dict[str, object] = field(default_factory=dict)
    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    token: str = ""  # made up where none is given
    workers: int = 0  # 0: one for each core
    sandboxes: int = 64  # at once, in all workers together
    queue: int = 64  # creations that may wait for one to end
    wait_s: float = 5.0  # how long one waits before it is told that the pool is busy
    cert: str = ""  # file with a TLS certificate
    key: str = ""  # file with its key, where that is another one
    trust_network: bool = False  # serve others without TLS

    def __post_init__(self) -> None:
        if self.token and len(self.token) < _SHORTEST_TOKEN:
            raise ConfigError(f"the token of a pool needs at least {_SHORTEST_TOKEN} characters")
        if self.host not in _LOOPBACK and not self.cert and not self.trust_network:
            raise ConfigError(
                f"a pool at {self.host!r} can be reached by others, who could read its token on the way: give a "
                "certificate (--cert, --key), or say --trust-network where the network itself is safe (a tunnel)"
            )
        for name, least in (("workers", 0), ("sandboxes", 1), ("queue", 0)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name} = {getattr(self, name)}: give a number from {least} on")


class PoolServer:
    """Binds the address and keeps the workers going; they share the socket, so that the kernel deals out connections."""

    def __init__(self, settings: PoolSettings, notify: Callable[[str], None] = lambda line: None) -> None:
        need_libraries("a pool")
        self._notify = notify
        self.token = settings.token or secrets.token_urlsafe(24)
        self._count = settings.workers or os.cpu_count() or 1
        self._listener = _listen(settings.host, settings.port)
        self._listener.set_inheritable(True)
        self._folder = tempfile.TemporaryDirectory(prefix="agentrl-pool-")
        waiting = math.ceil(settings.queue / self._count)
        self._settings = WorkerSettings(
            settings.name, settings.settings, self.token, settings.sandboxes, self._folder.name, waiting, settings.wait_s,
            settings.cert, settings.key,
        )  # fmt: skip
        scheme = "wss" if settings.cert else "ws"
        self.url = f"{scheme}://{settings.host}:{self._listener.getsockname()[1]}"
        self.workers: dict[int, subprocess.Popen[bytes]] = {}
        self._lock = threading.Lock()
        self._closed = threading.Event()

    def start(self) -> None:
        """Start the workers, and wait until they serve. Raises SandboxFault when one does not come up."""
        try:
            for number in range(self._count):
                self.workers[number] = self._worker()
        except BaseException:
            self.close()
            raise
        for number in range(self._count):
            threading.Thread(target=self._keep_going, args=(number,), daemon=True).start()

    def wait(self) -> None:
        """Until `end`."""
        self._closed.wait()

    def end(self) -> None:
        """Let `wait` return; safe in a signal handler."""
        self._closed.set()

    def close(self) -> None:
        """End the workers and everything they hold; safe twice."""
        self._closed.set()
        with self._lock:
            workers = list(self.workers.values())
        self._listener.close()
        for worker in workers:
            assert worker.stdin is not None
            worker.stdin.close()
        for worker in workers:
            try:
                worker.wait(_END_S)
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.wait()
            assert worker.stdout is not None
            worker.stdout.close()
        self._folder.cleanup()

    def _keep_going(self, number: int) -> None:
        while True:
            worker, began = self.workers[number], time.monotonic()
            code = worker.wait()
            if self._closed.is_set():
                return
            self._notify(f"worker {worker.pid} ended ({code}); its sandboxes are gone, another one is started")
            if time.monotonic() - began < _PAUSE_S and self._closed.wait(_PAUSE_S):
                return
            try:
                self._replace(number)
            except (SandboxFault, OSError) as fault:
                self._notify(str(fault))

    def _replace(self, number: int) -> None:
        worker = self._worker()
        with self._lock:
            if not self._closed.is_set():
                self.workers[number] = worker
                return
        worker.kill()
        worker.wait()

    def _worker(self) -> subprocess.Popen[bytes]:
        descriptor = self._listener.fileno()
        process = subprocess.Popen(
            [sys.executable, "-m", "agentrl_sandboxes.pool.worker", str(descriptor)], pass_fds=(descriptor,),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=_worker_env(),
        )  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # it has ended already, as the next line finds
            process.stdin.write(json.dumps(asdict(self._settings)).encode() + b"\n")
            process.stdin.flush()
        timer = threading.Timer(_START_S, process.kill)
        timer.start()
        try:
            if process.stdout.readline() != b"ready\n":
                raise SandboxFault(f"a worker of the pool ended before it served (exit code {process.wait()})")
        finally:
            timer.cancel()
        return process


def _worker_env() -> dict[str, str]:
    """Our own, with the same modules in reach; without the token, which goes another way."""
    variables = {name: value for name, value in os.environ.items() if name != TOKEN_VARIABLE}
    return {**variables, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=_BACKLOG
        )
    except OSError as error:
        raise ConfigError(f"a pool cannot listen at {host}:{port}: {error.strerror}. Give another --port.") from error
