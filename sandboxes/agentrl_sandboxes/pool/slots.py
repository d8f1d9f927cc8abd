"""How many sandboxes a pool holds at once: slots that all its worker processes share."""

from __future__ import annotations

import random
import threading
import time
from pathlib import Path

from filelock import FileLock, Timeout

_LOOK_S = 0.02


class Busy(Exception):
    """No slot became free in time."""


class Slots:
    """So many slots for all workers of a pool, each a locked file; the kernel frees those of a worker that dies."""

    def __init__(self, folder: str, count: int, queue_length: int, wait_s: float) -> None:
        """`wait_s`: how many seconds one waits for a slot; `queue_length`: how many may wait in this process."""
        self._locks = [FileLock(Path(folder, f"slot{number}"), thread_local=False) for number in range(count)]
        self._queue_length, self._wait_s = queue_length, wait_s
        self._waiting = 0
        self._lock = threading.Lock()
        self._first_in_line = threading.Lock()  # only one looks at the files again and again

    def take(self) -> int:
        """A slot. Raises Busy where none becomes free in time, or too many wait already."""
        with self._lock:
            slot = self._try()
            if slot >= 0:
                return slot
            if self._waiting >= self._queue_length:
                raise Busy(f"all {len(self._locks)} slots are in use, and {self._waiting} wait already")
            self._waiting += 1
        try:
            return self._wait(time.monotonic() + self._wait_s)
        finally:
            with self._lock:
                self._waiting -= 1

    def give_back(self, slot: int) -> None:
        """Let the next one in."""
        with self._lock:
            self._locks[slot].release()

    def _wait(self, deadline: float) -> int:
        if self._first_in_line.acquire(timeout=max(0.0, deadline - time.monotonic())):
            try:
                while time.monotonic() < deadline:
                    time.sleep(_LOOK_S)
                    with self._lock:
                        slot = self._try()
                    if slot >= 0:
                        return slot
            finally:
                self._first_in_line.release()
        raise Busy(f"all {len(self._locks)} slots were in use for {self._wait_s:g} s")

    def _try(self) -> int:
        start = random.randrange(len(self._locks))  # so that workers seldom look at one another's
        for number in range(len(self._locks)):
            slot = (start + number) % len(self._locks)
            if self._locks[slot].is_locked:
                continue  # by this very process, which could lock it once more
            try:
                self._locks[slot].acquire(timeout=0)
            except Timeout:
                continue
            return slot
        return -1
