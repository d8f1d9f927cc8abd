"""bubblewrap: sandboxes of Linux namespaces, made in milliseconds, closed by default."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import subprocess
import threading
import weakref
from collections import deque
from collections.abc import Sequence
from typing import Any

import agentrl
from agentrl import ConfigError, SandboxFault, SandboxProvider, SandboxSpec
from agentrl_sandboxes import doctor, grading, reaper
from agentrl_sandboxes.bubblewrap_sandbox import BubblewrapSandbox
from agentrl_sandboxes.snapshots import Identities, LayerBook
from agentrl_sandboxes.wardens import Keeper, Warden, WardenSettings, find_python

PRELOAD = (
    "bisect", "collections", "copy", "datetime", "functools", "heapq", "io", "itertools", "json", "math", "operator",
    "random", "re", "string", "time", "typing",
)  # fmt: skip
"""What a warm interpreter has imported already: each module more makes every fork a little slower."""

_AHEAD = 3  # keepers that are there from the start, so that one can prepare while another is used


@agentrl.hookimpl
def register_sandboxes(register: Any) -> None:
    register("bubblewrap", Bubblewrap)


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

        `warm`: how many idle keepers are kept. Without `overlay` or `cgroups` the weaker forms are used that other
        machines would fall back to; the grade says which are in use.
        """
        self._settings = (python, tuple(preload), bwrap, overlay, cgroups)
        self._warm = warm
        self._lock = threading.RLock()
        self._building = threading.BoundedSemaphore(2 * (os.cpu_count() or 1))
        self._warden: Warden | None = None
        self._idle: deque[Keeper] = deque()
        self._open: weakref.WeakSet[BubblewrapSandbox] = weakref.WeakSet()
        self._measured: dict[str, dict[str, Any]] = {}
        self._closed = False
        self.python = ""
        self.book = LayerBook()
        self.identities = Identities(0, 0)

    def create(self, spec: SandboxSpec | None = None) -> BubblewrapSandbox:
        spec = spec or SandboxSpec()
        self.check_spec(spec)
        if spec.root and not os.path.isdir(spec.root):
            raise ConfigError(f"the root {spec.root!r} of a sandbox is not a directory")
        if spec.root:
            spec = dataclasses.replace(spec, root=os.path.abspath(spec.root))
        keeper = self.hire()
        identity, keeper.next_id = keeper.next_id, None
        return self._make(keeper, spec, self.identities.lend() if identity is None else identity, ())

    def adopt(self, spec: SandboxSpec, identity: int, stack: Sequence[str]) -> BubblewrapSandbox:
        """A sandbox that begins with frozen files, and has the uid that they belong to."""
        return self._make(self.hire(), spec, self.identities.hold(identity), stack)

    def obstacle(self) -> str:
        return doctor.obstacle(self._settings[2])

    def reap(self) -> list[str]:
        return reaper.reap()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            sandboxes, keepers, warden = list(self._open), list(self._idle), self._warden
            self._idle.clear()
            self._warden = None
        for sandbox in sandboxes:
            sandbox.close()
        for keeper in [*keepers, *self._idle]:
            keeper.close()
        if warden is not None:
            warden.close()

    def hire(self) -> Keeper:
        """A keeper that holds nothing yet."""
        with self._lock:
            warden = self._start()
            while self._idle:
                keeper = self._idle.popleft()  # the one that had most time to make namespaces ahead
                if keeper.alive():
                    return keeper
                self.discard(keeper)
            return warden.hire()

    def take_back(self, keeper: Keeper) -> None:
        """A keeper that has closed what it held."""
        with self._lock:
            if len(self._idle) < self._warm and not self._closed:
                self._idle.append(keeper)
                return
        self.discard(keeper)

    def discard(self, keeper: Keeper) -> None:
        """A keeper that is not used again."""
        keeper.close()
        if keeper.next_id is not None:
            self.identities.give_back(keeper.next_id)

    def foresee(self, keeper: Keeper) -> int | None:
        """The uid of the next sandbox of this keeper, so that it can make namespaces for it ahead."""
        if keeper.next_id is None and not self._closed:
            with contextlib.suppress(SandboxFault):  # all are lent: then nothing is made ahead
                keeper.next_id = self.identities.lend()
        return keeper.next_id

    def measure(self, sandbox: BubblewrapSandbox) -> dict[str, Any]:
        """The grade, measured once per profile and root: nothing else changes what is enforced."""
        key = f"{sandbox.spec.profile}:{sandbox.spec.root}"
        if key not in self._measured:
            self._measured[key] = grading.measure(sandbox, self._start().facts, self._version())
        return {**self._measured[key], "profile": sandbox.spec.profile}

    def _make(self, keeper: Keeper, spec: SandboxSpec, identity: int, base: Sequence[str]) -> BubblewrapSandbox:
        try:
            with self._building:  # more at once would only make each of them slower
                sandbox = BubblewrapSandbox(self, keeper, spec, identity, base)
        except BaseException:
            self.discard(keeper)
            self.identities.give_back(identity)
            raise
        with self._lock:
            self._open.add(sandbox)
        return sandbox

    def _start(self) -> Warden:
        with self._lock:
            if self._closed:
                raise SandboxFault("this provider of sandboxes is closed")
            if self._warden is not None and self._warden.owner != os.getpid():
                raise SandboxFault(
                    "these sandboxes belong to the process this one was forked from; make a new provider"
                )
            if self._warden is not None and self._warden.alive():
                return self._warden
            self._forget_warden()
            python, preload, bwrap, overlay, cgroups = self._settings
            obstacle = self.obstacle()
            if obstacle:
                raise ConfigError(f"bubblewrap does not work on this machine: {obstacle}")
            path, folders = find_python(python)
            settings = WardenSettings(
                doctor.find_bwrap(bwrap), path, folders, preload, overlay, cgroups, folder=_state_folder()
            )
            self._warden = Warden(settings)
            self.python = path
            self.identities = Identities(self._warden.facts["first_id"], self._warden.facts["ids"])
            for _ in range(min(_AHEAD, self._warm)):
                keeper = self._warden.hire()
                keeper.ask("close", next_id=self.foresee(keeper))
                self._idle.append(keeper)
            return self._warden

    def _forget_warden(self) -> None:
        """It was killed, and its sandboxes with it; the next one has uids and layers of its own."""
        if self._warden is not None:
            self._warden.close()
        for keeper in self._idle:
            keeper.close()
        self._idle.clear()
        self.book = LayerBook()

    def _version(self) -> str:
        done = subprocess.run(
            [doctor.find_bwrap(self._settings[2]), "--version"], capture_output=True, text=True, check=False
        )
        return done.stdout.strip()


def _state_folder() -> str:
    """Where wardens mount what they keep; one empty folder each, as far as the host can see."""
    wanted = ["/run", "/dev/shm"] if os.geteuid() == 0 else [os.environ.get("XDG_RUNTIME_DIR", ""), "/dev/shm", "/tmp"]
    return next((folder for folder in wanted if folder and os.access(folder, os.W_OK)), "/tmp")
