"""How a synchronous world is stepped from asynchronous code: inline when it is fast, in its own thread when it blocks."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from typing import Any, Protocol

import gymnasium


class World(Protocol):
    """One live environment. `call` runs a function of it; raises TimeoutError past the limit."""

    env: gymnasium.Env[str, str]
    inline: bool

    async def call(self, function: Callable[[], Any], timeout_s: float) -> Any: ...
    def close(self) -> None: ...


class InlineWorld:
    """Steps in the event loop itself: no thread costs less than a fast step."""

    inline = True

    def __init__(self, env: gymnasium.Env[str, str]) -> None:
        self.env = env

    async def call(self, function: Callable[[], Any], timeout_s: float) -> Any:
        return function()

    def close(self) -> None:
        self.env.close()


class ThreadedWorld:
    """Steps in one thread of its own, always the same: databases and browsers are bound to theirs.

    The thread is a daemon: a step that never returns can keep neither the run nor the exit of the process waiting.
    """

    inline = False

    def __init__(self, env: gymnasium.Env[str, str]) -> None:
        self.env = env
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._closed = False
        threading.Thread(target=self._serve, daemon=True, name=f"world-{id(env):x}").start()

    async def call(self, function: Callable[[], Any], timeout_s: float) -> Any:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()

        def job() -> None:
            try:
                result, error = function(), None
            except BaseException as raised:  # handed over to whoever waits, whatever it is
                result, error = None, raised
            if not loop.is_closed():
                loop.call_soon_threadsafe(_settle, future, result, error)

        self._jobs.put(job)
        async with asyncio.timeout(timeout_s):
            return await future

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._jobs.put(self.env.close)
            self._jobs.put(None)

    def _serve(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()


def _settle(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if future.done():
        return  # nobody waits any more
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)
