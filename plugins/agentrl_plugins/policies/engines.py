"""Engines: several engines over one model that step side by side, each on one core; dialogues are dealt out among them."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import fields
from functools import partial
from typing import Any

import torch

from agentrl import Completion
from agentrl_plugins.policies.engine import Counters, Engine, Request

Finished = list[tuple[Request, Completion]]


class Engines:
    """One engine in the caller's thread, or several, each with a thread and a core of its own.

    Which engine a dialogue gets depends on the order of the dialogues alone, and all engines step in rounds, so a run
    can be repeated bit by bit. What is asked of an engine during a round is done after it.
    """

    def __init__(self, model: Any, workers: int | None, make: Callable[[int], Engine]) -> None:
        """`make(count)` makes one of `count` engines."""
        suited = model.one_core_workers
        count = workers or suited or 1
        self._one_core = suited is not None or count > 1
        self._all = [make(count) for _ in range(count)]
        self._pool = ThreadPoolExecutor(count, "engine", torch.set_num_threads, (1,)) if count > 1 else None
        self._of: dict[str, int] = {}  # dialogue → engine
        self._running: list[Future[Finished]] = []
        self._later: list[Callable[[], object]] = []
        self._rounds, self._seconds = 0, 0.0

    @property
    def busy(self) -> bool:
        return any(engine.busy for engine in self._all)

    async def step(self) -> Finished:
        """One step of every engine that has work; returns what is finished."""
        started = time.perf_counter()
        self._catch_up()
        finished = await self._round([engine for engine in self._all if engine.busy])
        self._rounds += 1
        self._seconds += time.perf_counter() - started
        return finished

    def submit(self, request: Request) -> None:
        """Queue a request with the engine that holds its dialogue; a new one goes where the fewest are."""
        if request.key not in self._of:
            held = Counter(self._of.values())
            self._of[request.key] = min(range(len(self._all)), key=lambda number: held[number])
        engine = self._all[self._of[request.key]]
        self._between_rounds(lambda: engine.submit(request))

    def cancel(self, request: Request) -> None:
        """Give a request up."""
        for engine in self._all:
            self._between_rounds(partial(engine.cancel, request))

    def forget(self, key: str) -> None:
        """The dialogue is over."""
        if (number := self._of.pop(key, None)) is not None:
            self._between_rounds(lambda: self._all[number].forget(key))

    def drop(self, model: Any) -> None:
        """From the next round on compute with these weights; everything cached is void."""
        for engine in self._all:
            self._between_rounds(partial(engine.drop, model))

    def abandon(self) -> None:
        """Give up every request, also those of an event loop that ended in the middle of a round."""
        self._catch_up()
        for engine in self._all:
            engine.abandon()

    def close(self) -> None:
        """Free all memory."""
        self._catch_up()
        self._of.clear()
        for engine in self._all:
            engine.close()

    def take_counters(self) -> Counters:
        """The sums since the last call; `steps` counts rounds, and `seconds` is their length."""
        total = Counters()
        for engine in self._all:
            for field in fields(Counters):
                setattr(total, field.name, getattr(total, field.name) + getattr(engine.counters, field.name))
            engine.counters = Counters()
        total.steps, total.seconds = self._rounds, self._seconds
        self._rounds, self._seconds = 0, 0.0
        return total

    async def _round(self, working: list[Engine]) -> Finished:
        if self._pool is None:
            return self._alone(working[0])
        self._running = [self._pool.submit(engine.step) for engine in working]
        try:
            await asyncio.wait([asyncio.wrap_future(step) for step in self._running])  # for all, also where one fails
        except (
            asyncio.CancelledError
        ):  # no `finally`: what a dead event loop left is closed in any thread, and must not wait
            self._catch_up()
            raise
        self._catch_up()
        return [pair for step in self._running for pair in step.result()]

    def _alone(self, engine: Engine) -> Finished:
        threads = torch.get_num_threads()
        if self._one_core and threads > 1:
            torch.set_num_threads(1)
        try:
            return engine.step()
        finally:
            if self._one_core and threads > 1:
                torch.set_num_threads(threads)

    def _between_rounds(self, action: Callable[[], object]) -> None:
        self._later.append(action)
        if all(step.done() for step in self._running):
            self._catch_up()

    def _catch_up(self) -> None:
        """Wait for the round, then do what had to wait for it."""
        wait(self._running)
        later, self._later = self._later, []
        for action in later:
            action()
