"""The provider of bubblewrap sandboxes."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import threading
import weakref
from collections.abc import Sequence

from agentrl import ConfigError, SandboxFault, SandboxProvider, SandboxSpec
from agentrl_sandboxes.bubblewrap import grade, preflight, reaper
from agentrl_sandboxes.bubblewrap.manager import Worker
from agentrl_sandboxes.bubblewrap.sandbox import BubblewrapSandbox, Maker
from agentrl_sandboxes.bubblewrap.workers import Options, Workers
from agentrl_sandboxes.supervised.jobs import PRELOAD


class Bubblewrap(SandboxProvider):
    """Sandboxes by bubblewrap. Needs the program `bwrap` and Linux; root or user namespaces for ordinary users."""

    name = "bubblewrap"
    profiles = ("default", "strict")
    abilities = frozenset({"python_session", "shell_session", "warm_python", "snapshot", "fork", "root"})

    def __init__(
        self,
        *,
        python: str = "",
        preload: Sequence[str] = PRELOAD,
        bwrap: str = "bwrap",
        warm: int = 64,
        overlay: bool = True,
        cgroups: bool = True,
    ) -> None:
        """`python`: the interpreter in sandboxes (default: the system's). `preload`: modules it has imported already.

        `warm`: how many idle workers are kept. Without `overlay` or `cgroups` the weaker forms are used that other
        machines would fall back to; the grade says which are in use.
        """
        self._bwrap = bwrap
        self._workers = Workers(Options(python, tuple(preload), bwrap, warm, overlay, cgroups))
        self._maker = Maker(self._workers, self.abilities, self.adopt, self.measure)
        self._lock = threading.Lock()
        self._building = threading.BoundedSemaphore(2 * (os.cpu_count() or 1))
        self._open: weakref.WeakSet[BubblewrapSandbox] = weakref.WeakSet()
        self._measured: dict[str, dict[str, object]] = {}

    def create(self, spec: SandboxSpec | None = None) -> BubblewrapSandbox:
        spec = spec or SandboxSpec()
        self.check_spec(spec)
        if spec.root and not os.path.isdir(spec.root):
            raise ConfigError(f"the root {spec.root!r} of a sandbox is not a directory")
        if spec.root:
            spec = dataclasses.replace(spec, root=os.path.abspath(spec.root))
        worker = self._workers.acquire()
        uid, worker.next_id = worker.next_id, None
        return self._make(worker, spec, self._workers.uids.acquire() if uid is None else uid, ())

    def adopt(self, spec: SandboxSpec, uid: int, stack: Sequence[str]) -> BubblewrapSandbox:
        """A sandbox that begins with frozen files, and has the uid that they belong to."""
        return self._make(self._workers.acquire(), spec, self._workers.uids.retain(uid), stack)

    def obstacle(self) -> str:
        return preflight.obstacle(self._bwrap)

    def reap(self) -> list[str]:
        return reaper.reap()

    def close(self) -> None:
        self._workers.refuse()
        with self._lock:
            sandboxes = list(self._open)
        for sandbox in sandboxes:
            sandbox.close()
        self._workers.close()

    @property
    def family(self) -> str:
        """Names the folder and the control groups of this provider's processes on this machine; see `reaper`."""
        return str(self._workers.facts()["family"])

    def measure(self, sandbox: BubblewrapSandbox) -> dict[str, object]:
        """The grade, measured once per profile and root: nothing else changes what is enforced."""
        key = f"{sandbox.spec.profile}:{sandbox.spec.root}"
        if key not in self._measured:
            try:
                self._measured[key] = grade.measure(sandbox, self._workers.facts(), self._version())
            except SandboxFault:  # a program here may be in the way
                with self.create(sandbox.spec) as clean:
                    self._measured[key] = grade.measure(clean, self._workers.facts(), self._version())
        return {**self._measured[key], "profile": sandbox.spec.profile}

    def _make(self, worker: Worker, spec: SandboxSpec, uid: int, base: Sequence[str]) -> BubblewrapSandbox:
        try:
            with self._building:  # more at once would only make each of them slower
                sandbox = BubblewrapSandbox(self._maker, worker, spec, uid, base)
        except BaseException:
            self._workers.discard(worker)
            self._workers.uids.release(uid)
            raise
        with self._lock:
            self._open.add(sandbox)
        return sandbox

    def _version(self) -> str:
        ended = subprocess.run(
            [preflight.find_bwrap(self._bwrap), "--version"], capture_output=True, text=True, check=False
        )
        return ended.stdout.strip()
