"""How many sandboxes a pool holds at once: permits that all its worker processes share."""

from __future__ import annotations

import random
import threading
import time
from pathlib import Path

from filelock import FileLock, Timeout

_LOOK_S = 0.02


class Busy(Exception):
    """No permit became free in time."""


class Permits:
    """So many permits for all workers of a pool, each a locked file; the kernel frees those of a worker that dies."""

    def __init__(self, folder: str, count: int, queue_length: int, wait_s: float) -> None:
        """`wait_s`: how many seconds one waits for a permit; `queue_length`: how many may wait in this process."""
        self._locks = [FileLock(Path(folder, f"permit{number}"), thread_local=False) for number in range(count)]
        self._queue_length, self._wait_s = queue_length, wait_s
        self._waiting = 0
        self._lock = threading.Lock()
        self._first_in_line = threading.Lock()  # only one looks at the files again and again

    def take(self) -> int:
        """A permit. Raises Busy where none becomes free in time, or too many wait already."""
        with self._lock:
            permit = self._try()
            if permit >= 0:
                return permit
            if self._waiting >= self._queue_length:
                raise Busy(f"all {len(self._locks)} sandboxes are in use, and {self._waiting} wait already")
            self._waiting += 1
        try:
            return self._wait(time.monotonic() + self._wait_s)
        finally:
            with self._lock:
                self._waiting -= 1

    def give_back(self, permit: int) -> None:
        """Let the next one in."""
        with self._lock:
            self._locks[permit].release()

    def _wait(self, deadline: float) -> int:
        if self._first_in_line.acquire(timeout=max(0.0, deadline - time.monotonic())):
            try:
                while time.monotonic() < deadline:
                    time.sleep(_LOOK_S)
                    with self._lock:
                        permit = self._try()
                    if permit >= 0:
                        return permit
            finally:
                self._first_in_line.release()
        raise Busy(f"all {len(self._locks)} sandboxes were in use for {self._wait_s:g} s")

    def _try(self) -> int:
        start = random.randrange(len(self._locks))  # so that workers seldom look at one another's
        for number in range(len(self._locks)):
            permit = (start + number) % len(self._locks)
            if self._locks[permit].is_locked:
                continue  # by this very process, which could lock it once more
            try:
                self._locks[permit].acquire(timeout=0)
            except Timeout:
                continue
            return permit
        return -1
