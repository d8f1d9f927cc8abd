"""How a synchronous world is stepped from asynchronous code: inline when it is fast, in its own thread when it blocks."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import gymnasium

from agentrl.errors import ConfigError, PluginError

log = logging.getLogger(__name__)
Result = TypeVar("Result")
SHORTEST_WAIT_S = 0.01
"""So that nobody is asked a thousand times a second whether a world is still waiting."""


class Clock:
    """Seconds that a world has taken; what it waits for a policy is not its own. `loop` steps it, where it has a thread."""

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None
        self.loop_thread = 0
        self.waited_s = 0.0
        self.waiting_since: float | None = None
        self.asked: dict[str, float] = {}
        """What policies that the world asked have cost since this was last taken: user_tokens, user_seconds, user_calls."""

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Inside, time is somebody else's."""
        self.waiting_since = started = time.perf_counter()
        try:
            yield
        finally:
            self.waiting_since = None
            self.waited_s += time.perf_counter() - started

    def own_s(self, started: float, waited_s: float) -> float:
        """Seconds since `started`, less what was waited since the clock stood at `waited_s`."""
        now = time.perf_counter()
        waiting = now - self.waiting_since if self.waiting_since is not None else 0.0
        return now - started - (self.waited_s - waited_s) - waiting


class Raised(Exception):
    """A fault of a world, whatever it raised: nobody may take its StopIteration or CancelledError for their own."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


class World:
    """One live environment, stepped by `tried` in the event loop itself: no thread costs less than a fast step."""

    def __init__(self, env: gymnasium.Env[str, str], clock: Clock) -> None:
        self.env, self.clock = env, clock
        self._closed = False

    def close(self) -> None:
        """Close it; safe twice. A world that cannot be closed is logged: nothing is waiting for it any more."""
        if not self._closed:
            self._closed = True
            self._end()

    def _end(self) -> None:
        try:
            tried(self.env.close)
        except Exception:
            log.warning("%s could not be closed", type(self.env.unwrapped).__name__, exc_info=True)


class ThreadedWorld(World):
    """Stepped in one thread of its own, always the same: databases and browsers are bound to theirs.

    The thread is a daemon: a step that never returns can keep neither the run nor the exit of the process waiting.
    """

    def __init__(self, env: gymnasium.Env[str, str], clock: Clock) -> None:
        super().__init__(env, clock)
        self._jobs: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        threading.Thread(target=self._serve, daemon=True, name=f"world-{id(env):x}").start()

    async def call(self, function: Callable[[], Result], timeout_s: float) -> Result:
        """`tried` in the world's thread. Raises TimeoutError past the limit."""
        loop = self.clock.loop = asyncio.get_running_loop()
        self.clock.loop_thread = threading.get_ident()
        future: asyncio.Future[Result] = loop.create_future()
        context = contextvars.copy_context()  # which update this is

        def job() -> None:
            result: Result | BaseException
            try:
                result = context.run(tried, function)
            except BaseException as error:  # handed over to whoever waits
                result = error
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(_settle, future, result)

        started, waited = time.perf_counter(), self.clock.waited_s
        self._jobs.put(job)
        try:
            while (left := timeout_s - self.clock.own_s(started, waited)) > 0:
                done, _ = await asyncio.wait([future], timeout=max(left, SHORTEST_WAIT_S))
                if done:
                    return future.result()
        finally:
            future.cancel()  # whoever gave up, or was cancelled, does not want to hear of it any more
        raise TimeoutError

    def _end(self) -> None:
        self._jobs.put(super()._end)
        self._jobs.put(None)

    def _serve(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()


def tried(function: Callable[[], Result]) -> Result:
    """What a function of a world gives. Raises Raised for its faults; mistakes of a run file or plugin pass."""
    try:
        return function()
    except (ConfigError, PluginError, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise Raised(error) from error


def _settle(future: asyncio.Future[Result], result: Result | BaseException) -> None:
    if future.done():  # nobody waits any more
        return
    if isinstance(result, BaseException):
        future.set_exception(result)
    else:
        future.set_result(result)
