"""Patience with policies: an answer that does not come in time is given up."""

from __future__ import annotations

import asyncio
import time

LONGEST_LOOK_S = 5.0
"""So often at least the watch looks who still waits."""


class Wait:
    """One speaker of one trajectory, who waits for an answer while it has asked more often than it was answered."""

    def __init__(self) -> None:
        self.asked = self.answered = self.seen = 0
        self.since, self.late = 0.0, False
        self._task = asyncio.current_task()

    def give_up(self) -> None:
        """Cancel the task that waits."""
        self.late = True
        if self._task is not None:
            self._task.cancel()

    def over(self) -> bool:
        """Whether it was given up, and nobody else cancelled it; what waits next may go on."""
        late, self.late = self.late, False
        return late and self._task is not None and self._task.uncancel() == 0


class Patience:
    """Waits at least `limit_s` for each answer, and not much longer.

    One watch looks now and then at all who wait: a timer for every turn would cost more than a fast policy.
    """

    def __init__(self, limit_s: float) -> None:
        self.limit_s = limit_s
        self._waits: set[Wait] = set()
        self._next: asyncio.TimerHandle | None = None

    def join(self) -> Wait:
        """A wait of the task that runs now."""
        wait = Wait()
        self._waits.add(wait)
        return wait

    def leave(self, wait: Wait) -> None:
        """It will not ask any more."""
        wait.over()
        self._waits.discard(wait)

    def begin(self) -> None:
        """Watch from now on, in the present event loop."""
        self._next = asyncio.get_running_loop().call_later(min(self.limit_s / 4, LONGEST_LOOK_S), self._look)

    def end(self) -> None:
        """Nobody waits any more."""
        if self._next is not None:
            self._next.cancel()

    def _look(self) -> None:
        now = time.monotonic()
        for wait in self._waits:
            if wait.asked == wait.answered or wait.late:
                continue
            if wait.seen != wait.asked:
                wait.seen, wait.since = wait.asked, now
            elif now - wait.since >= self.limit_s:
                wait.give_up()
        self.begin()
