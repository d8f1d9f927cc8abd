"""How a synchronous world is stepped from asynchronous code: inline when it is fast, in its own thread when it blocks."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar

import gymnasium

Result = TypeVar("Result")


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


class World(Protocol):
    """One live environment. `call` runs a function of it; raises TimeoutError past the limit."""

    env: gymnasium.Env[str, str]
    inline: bool
    clock: Clock

    async def call(self, function: Callable[[], Result], timeout_s: float) -> Result: ...
    def close(self) -> None: ...


class InlineWorld:
    """Steps in the event loop itself: no thread costs less than a fast step."""

    inline = True

    def __init__(self, env: gymnasium.Env[str, str], clock: Clock) -> None:
        self.env, self.clock = env, clock

    async def call(self, function: Callable[[], Result], timeout_s: float) -> Result:
        return function()

    def close(self) -> None:
        self.env.close()


class ThreadedWorld:
    """Steps in one thread of its own, always the same: databases and browsers are bound to theirs.

    The thread is a daemon: a step that never returns can keep neither the run nor the exit of the process waiting.
    """

    inline = False

    def __init__(self, env: gymnasium.Env[str, str], clock: Clock) -> None:
        self.env, self.clock = env, clock
        self._jobs: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self._closed = False
        threading.Thread(target=self._serve, daemon=True, name=f"world-{id(env):x}").start()

    async def call(self, function: Callable[[], Result], timeout_s: float) -> Result:
        loop = self.clock.loop = asyncio.get_running_loop()
        self.clock.loop_thread = threading.get_ident()
        future: asyncio.Future[Result] = loop.create_future()
        context = contextvars.copy_context()  # which update this is

        def job() -> None:
            try:
                settle = functools.partial(_settle, future, context.run(function))
            except BaseException as raised:  # handed over to whoever waits, whatever it is
                settle = functools.partial(_fail, future, raised)
            if not loop.is_closed():
                loop.call_soon_threadsafe(settle)

        started, waited = time.perf_counter(), self.clock.waited_s
        self._jobs.put(job)
        while (left := timeout_s - self.clock.own_s(started, waited)) > 0:
            done, _ = await asyncio.wait([future], timeout=left)
            if done:
                return future.result()
        future.cancel()
        raise TimeoutError

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._jobs.put(self.env.close)
            self._jobs.put(None)

    def _serve(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()


def _settle(future: asyncio.Future[Result], result: Result) -> None:
    if not future.done():  # else nobody waits any more
        future.set_result(result)


def _fail(future: asyncio.Future[Result], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)
