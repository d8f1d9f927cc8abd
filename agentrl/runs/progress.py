"""What a run is doing right now, for whoever shows it."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field

log = logging.getLogger(__name__)


@dataclass
class Progress:
    """Written by the run, read by a display; plain numbers, no locks needed."""

    run: str = ""
    folder: str = ""
    stage: str = "setting up"
    phase: str = ""  # collecting, updating, committing, evaluating
    update: int = 0  # updates done in this stage
    updates: int = 0
    done: int = 0  # updates done in the whole run
    total: int = 0
    metrics: dict[str, float] = field(default_factory=dict)  # of the last update
    started: float = field(default_factory=time.monotonic)
    stage_started: float = field(default_factory=time.monotonic)
    stage_first: int = 0  # updates of this stage that an earlier process did
    advice: dict[str, str] = field(default_factory=dict)  # what a person should know, each said once

    def step(self, doing: str, done: int, of: int) -> None:
        """A slow step of the set-up."""
        self.phase = f"{doing}: {done} of {of}"

    def advise(self, about: str, text: str) -> None:
        """Say something that a person should know, once for all that is `about` the same; it is logged too."""
        if about not in self.advice:
            self.advice[about] = text
            log.warning("%s", text)

    @property
    def stage_seconds_left(self) -> float | None:
        """At the pace of this stage so far; None before its first update is done."""
        here = self.update - self.stage_first
        if here <= 0:
            return None
        return (time.monotonic() - self.stage_started) / here * (self.updates - self.update)

    def begin_stage(self, stage: str, updates: int, first: int) -> None:
        self.stage, self.updates, self.update, self.stage_first = stage, updates, first, first
        self.stage_started = time.monotonic()
