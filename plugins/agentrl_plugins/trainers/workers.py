"""Workers: threads that each run torch on one core, which beats one operation on many cores when models are small."""

from __future__ import annotations

import contextlib
import contextvars
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


class Workers:
    """`count` threads; with one, work is done by the caller. Results come in the order of the items.

    A sum over results in order has the same bits for any number of workers, because each item is computed on one
    core. On shared cores this matters twice: threads that work on one operation wait for the slowest at every step.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._pool = ThreadPoolExecutor(count, "trainer", torch.set_num_threads, (1,)) if count > 1 else None

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Results in order; at most two per worker are under way or waiting to be taken."""
        if self._pool is None:
            yield from map(function, items)
            return
        waiting: deque[Future[Result]] = deque()
        try:
            for item in items:
                waiting.append(self._pool.submit(contextvars.copy_context().run, function, item))
                if len(waiting) >= 2 * self.count:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:  # after a failure nobody wants the rest, but nothing may still be running
                if not future.cancel():
                    future.exception()

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Inside, the calling thread too computes on one core, so that no bit depends on the number of workers."""
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)  # also what threads born later start with

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
