"""Keepers that hold nothing yet, ready for the next sandbox, and what all sandboxes of one warden share."""

from __future__ import annotations

import contextlib
import os
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from agentrl import ConfigError, SandboxFault
from agentrl_sandboxes.bubblewrap import preflight
from agentrl_sandboxes.bubblewrap.layers import Identities, LayerBook
from agentrl_sandboxes.bubblewrap.manager import Keeper, Warden, WardenSettings, find_python

_AHEAD = 3  # keepers that are there from the start, so that one can prepare while another is used


@dataclass(frozen=True)
class Settings:
    """How a warden and its keepers are made; see `Bubblewrap`."""

    python: str
    preload: Sequence[str]
    bwrap: str
    warm: int
    overlay: bool
    cgroups: bool


class Keepers:
    """Starts a warden when the first keeper is wanted, and another one where that was killed."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.RLock()
        self._warden: Warden | None = None
        self._idle: deque[Keeper] = deque()
        self._closed = False
        self.python = ""
        self.book = LayerBook()
        self.identities = Identities(0, 0)

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
            if len(self._idle) < self._settings.warm and not self._closed:
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

    def facts(self) -> dict[str, Any]:
        """What the warden says of itself."""
        return self._start().facts

    def refuse(self) -> None:
        """From now on no keeper is handed out, and those that come back are not kept."""
        self._closed = True

    def close(self) -> None:
        """End the warden, and with it everything it ever started; safe twice."""
        with self._lock:
            self._closed = True
            keepers, warden = list(self._idle), self._warden
            self._idle.clear()
            self._warden = None
        for keeper in [*keepers, *self._idle]:
            keeper.close()
        if warden is not None:
            warden.close()

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
            chosen = self._settings
            obstacle = preflight.obstacle(chosen.bwrap)
            if obstacle:
                raise ConfigError(f"bubblewrap does not work on this machine: {obstacle}")
            path, folders = find_python(chosen.python)
            settings = WardenSettings(
                preflight.find_bwrap(chosen.bwrap),
                path,
                folders,
                tuple(chosen.preload),
                chosen.overlay,
                chosen.cgroups,
                folder=_state_folder(),
            )
            self._warden = Warden(settings)
            self.python = path
            self.identities = Identities(self._warden.facts["first_id"], self._warden.facts["ids"])
            for _ in range(min(_AHEAD, chosen.warm)):
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


def _state_folder() -> str:
    """Where wardens mount what they keep; one empty folder each, as far as the host can see."""
    wanted = ["/run", "/dev/shm"] if os.geteuid() == 0 else [os.environ.get("XDG_RUNTIME_DIR", ""), "/dev/shm", "/tmp"]
    return next((folder for folder in wanted if folder and os.access(folder, os.W_OK)), "/tmp")
