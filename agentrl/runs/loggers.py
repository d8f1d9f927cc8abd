"""Loggers, each in a thread of its own: one that fails, or hangs, costs a run nothing but its own words."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import cast

from agentrl.errors import PluginError
from agentrl.parts.faults import in_words
from agentrl.parts.learning import Logger

log = logging.getLogger(__name__)


class Outlet:
    """A logger that is made, called and closed in one thread, which is a daemon: it keeps nobody waiting at the end."""

    def __init__(self, key: str, name: str, limit_s: float, failures: Counter[str]) -> None:
        """`failures` counts, under `key`, the updates that it did not take."""
        self._key, self._name, self._limit_s, self._failures = key, name, limit_s, failures
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._logger: Logger | None = None
        self._stuck = False
        self._thread = threading.Thread(target=self._serve, daemon=True, name=f"logger-{key}")
        self._thread.start()

    async def make(self, make: Callable[[], Logger]) -> None:
        """Raises what making it raises, and PluginError where that does not end."""
        try:
            self._logger = cast(Logger, await self._run(make))
        except Failed as failed:
            raise failed.error from None
        except TimeoutError:
            self._stuck = True
            raise PluginError(f"{self._name} took longer than {self._limit_s} s to be made") from None

    async def log(self, update: int, metrics: Mapping[str, float]) -> None:
        """Give it the metrics of an update. What it does to that is counted, and named in `run.log`."""
        assert self._logger is not None
        logger, why = self._logger, "it has not come back since"
        if not self._stuck:
            try:
                result: object = await self._run(lambda: logger.log(update, dict(metrics)))
                if result is None:
                    return
                why = f"log gave {result!r:.200}; a logger gives nothing, and nobody awaits it"
            except TimeoutError:
                self._stuck = True
                why = f"it took longer than logger_timeout_s = {self._limit_s}, and is given up"
            except Failed as failed:
                why = in_words(failed.error)
        self._failures[self._key] += 1
        log.warning("%s failed after update %d: %s", self._name, update, why)

    def close(self) -> None:
        """Close the logger, and wait for that as long as for an update; safe twice."""
        close = getattr(self._logger, "close", None)
        self._logger = None
        if close is not None and not self._stuck:
            closed = self._put(close)
            try:
                closed.result(self._limit_s)
            except (Failed, TimeoutError) as error:
                cause = error.error if isinstance(error, Failed) else error
                log.warning("%s could not be closed: %s", self._name, in_words(cause))
        self._jobs.put(None)

    async def _run(self, function: Callable[[], object]) -> object:
        return await asyncio.wait_for(asyncio.wrap_future(self._put(function)), self._limit_s)

    def _put(self, function: Callable[[], object]) -> Future[object]:
        future: Future[object] = Future()

        def job() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(function())
            except BaseException as error:  # no future can carry a StopIteration, and no loop a SystemExit
                future.set_exception(Failed(error))

        self._jobs.put(job)
        return future

    def _serve(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()


class Failed(Exception):
    """What a logger raised."""

    def __init__(self, error: BaseException) -> None:
        self.error = error
