"""How many sandboxes a pool holds at once: places that all its worker processes share."""

from __future__ import annotations

import fcntl
import threading
import time

_LOOK_S = 0.02


class Busy(Exception):
    """No place became free in time."""


class Places:
    """So many places for all workers of a pool; the kernel gives back those of a worker that dies."""

    def __init__(self, path: str, count: int, queue_length: int, wait_s: float) -> None:
        self._file = open(path, "r+b")  # noqa: SIM115 it lives as long as the worker
        self._count, self._queue_length, self._wait_s = count, queue_length, wait_s
        self._mine: set[int] = set()
        self._waiting = 0
        self._lock = threading.Lock()

    def take(self) -> int:
        """A place. Raises Busy where none becomes free in time, or too many wait already."""
        with self._lock:
            place = self._try()
            if place >= 0:
                return place
            if self._waiting >= self._queue_length:
                raise Busy(f"all {self._count} places are taken, and {self._waiting} wait already")
            self._waiting += 1
        try:
            return self._wait()
        finally:
            with self._lock:
                self._waiting -= 1

    def give_back(self, place: int) -> None:
        """Let the next one in."""
        with self._lock:
            self._mine.discard(place)
            fcntl.lockf(self._file, fcntl.LOCK_UN, 1, place)

    def _wait(self) -> int:
        until = time.monotonic() + self._wait_s
        while time.monotonic() < until:
            time.sleep(_LOOK_S)
            with self._lock:
                place = self._try()
            if place >= 0:
                return place
        raise Busy(f"all {self._count} places were taken for {self._wait_s:g} s")

    def _try(self) -> int:
        for place in range(self._count):
            if place in self._mine:
                continue  # a process never stands in its own way with these locks
            try:
                fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
            except OSError:
                continue
            self._mine.add(place)
            return place
        return -1
