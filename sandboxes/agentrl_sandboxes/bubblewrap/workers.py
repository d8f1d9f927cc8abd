"""Workers that hold nothing yet, ready for the next sandbox, and what all sandboxes of one manager share."""

from __future__ import annotations

import contextlib
import os
import threading
from collections import deque
from dataclasses import dataclass

from agentrl import ConfigError, SandboxFault
from agentrl_sandboxes.bubblewrap import preflight
from agentrl_sandboxes.bubblewrap.layers import LayerCounts, UidPool
from agentrl_sandboxes.bubblewrap.manager import Manager, Worker, find_python
from agentrl_sandboxes.inside.messages import Facts, Settings

_FIRST_WORKERS = 3  # there from the start, so that one can prepare while another is used


@dataclass(frozen=True)
class Options:
    """How workers are to be made; see `Bubblewrap`."""

    python: str
    preload: tuple[str, ...]
    bwrap: str
    warm: int  # idle workers that are kept
    overlay: bool
    cgroups: bool


class Workers:
    """Starts a manager when the first worker is wanted, and another one after that was killed. Thread-safe."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._lock = threading.RLock()
        self._manager: Manager | None = None
        self._idle: deque[Worker] = deque()
        self._closed = False
        self.python = ""
        self.layers = LayerCounts()
        self.uids = UidPool(0, 0)

    def acquire(self) -> Worker:
        """A worker that holds nothing yet. Raises SandboxFault when none can be started, or this is closed."""
        with self._lock:
            manager = self._running()
            while self._idle:
                worker = self._idle.popleft()  # the one that had most time to make namespaces ahead
                if worker.alive():
                    return worker
                self.discard(worker)
            return manager.start_worker()

    def release(self, worker: Worker) -> None:
        """Take back a worker that has closed what it held."""
        with self._lock:
            if len(self._idle) < self._options.warm and not self._closed:
                self._idle.append(worker)
                return
        self.discard(worker)

    def discard(self, worker: Worker) -> None:
        """End a worker that is not used again."""
        worker.close()
        if worker.next_id is not None:
            self.uids.release(worker.next_id)

    def reserve_next_id(self, worker: Worker) -> int | None:
        """The uid of this worker's next sandbox, so that it can make namespaces for it ahead."""
        if worker.next_id is None and not self._closed:
            with contextlib.suppress(SandboxFault):  # all are in use: then nothing is made ahead
                worker.next_id = self.uids.acquire()
        return worker.next_id

    def facts(self) -> Facts:
        """What the manager found out about this machine."""
        return self._running().facts

    def refuse(self) -> None:
        """From now on no worker is handed out, and those that come back are not kept."""
        self._closed = True

    def close(self) -> None:
        """End the manager, and with it everything it ever started; safe twice."""
        with self._lock:
            self._closed = True
            workers, manager = list(self._idle), self._manager
            self._idle.clear()
            self._manager = None
        for worker in [*workers, *self._idle]:
            worker.close()
        if manager is not None:
            manager.close()

    def _running(self) -> Manager:
        with self._lock:
            if self._closed:
                raise SandboxFault("this provider of sandboxes is closed")
            if self._manager is not None and self._manager.owner != os.getpid():
                raise SandboxFault(
                    "these sandboxes belong to the process this one was forked from; make a new provider"
                )
            if self._manager is not None and self._manager.alive():
                return self._manager
            self._forget_manager()
            self._manager = self._start()
            self.uids = UidPool(self._manager.facts["first_id"], self._manager.facts["ids"])
            for _ in range(min(_FIRST_WORKERS, self._options.warm)):
                worker = self._manager.start_worker()
                worker.ask({"do": "close", "next_id": self.reserve_next_id(worker)})
                self._idle.append(worker)
            return self._manager

    def _start(self) -> Manager:
        options = self._options
        obstacle = preflight.obstacle(options.bwrap)
        if obstacle:
            raise ConfigError(f"bubblewrap does not work on this machine: {obstacle}")
        self.python, folders = find_python(options.python)
        bwrap, preload = preflight.find_bwrap(options.bwrap), list(options.preload)
        return Manager(Settings(bwrap, self.python, folders, preload, options.overlay, options.cgroups, state_folder()))

    def _forget_manager(self) -> None:
        """It was killed, and its sandboxes with it; the next one has uids and layers of its own."""
        if self._manager is not None:
            self._manager.close()
        for worker in self._idle:
            worker.close()
        self._idle.clear()
        self.layers = LayerCounts()


def state_folder() -> str:
    """Where managers mount what they keep; one empty folder each, as far as the host can see."""
    candidates = (
        ["/run", "/dev/shm"] if os.geteuid() == 0 else [os.environ.get("XDG_RUNTIME_DIR", ""), "/dev/shm", "/tmp"]
    )
    return next((folder for folder in candidates if folder and os.access(folder, os.W_OK)), "/tmp")
