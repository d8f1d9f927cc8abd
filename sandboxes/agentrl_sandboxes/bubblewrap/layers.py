"""Which frozen layers of files are still in use, and which uid they belong to."""

from __future__ import annotations

import threading
import weakref
from collections import Counter, deque
from collections.abc import Sequence

from agentrl import SandboxFault, SandboxSnapshot


class UidPool:
    """The uids of sandboxes, counted: sandboxes that share files (forks) share one."""

    def __init__(self, first: int, count: int) -> None:
        self._free = deque(range(first, first + count))
        self._holders: Counter[int] = Counter()
        self._lock = threading.RLock()  # a snapshot may be collected while this thread holds it

    def acquire(self) -> int:
        """A uid that nobody holds. Raises SandboxFault when all are in use."""
        with self._lock:
            if not self._free:
                raise SandboxFault(f"all {len(self._holders)} uids for sandboxes are in use; close some sandboxes")
            uid = self._free.popleft()
            self._holders[uid] = 1
            return uid

    def retain(self, uid: int) -> int:
        """One more holder of a uid that is in use already."""
        with self._lock:
            self._holders[uid] += 1
            return uid

    def release(self, uid: int) -> None:
        """One holder less."""
        with self._lock:
            self._holders[uid] -= 1
            if not self._holders[uid]:
                del self._holders[uid]
                self._free.append(uid)


class LayerCounts:
    """Counts the users of each frozen layer; those without any wait until somebody asks a worker to free them."""

    def __init__(self) -> None:
        self._users: Counter[str] = Counter()
        self._unused: list[str] = []
        self._lock = threading.RLock()  # as above

    def retain(self, layers: Sequence[str]) -> None:
        """One more user of each."""
        with self._lock:
            self._users.update(layers)

    def release(self, layers: Sequence[str]) -> None:
        """One user less of each."""
        with self._lock:
            for layer in layers:
                self._users[layer] -= 1
                if not self._users[layer]:
                    del self._users[layer]
                    self._unused.append(layer)

    def take_unused(self) -> list[str]:
        """The layers that are to be freed now, by whoever calls this."""
        with self._lock:
            unused, self._unused = self._unused, []
            return unused

    def return_unused(self, layers: Sequence[str]) -> None:
        """They could not be freed: somebody else will."""
        with self._lock:
            self._unused += layers


class LayerSnapshot(SandboxSnapshot):
    """A stack of frozen layers, kept alive by this object."""

    def __init__(self, stack: Sequence[str], uid: int, layers: LayerCounts, uids: UidPool) -> None:
        self.stack, self.uid = tuple(stack), uid
        layers.retain(self.stack)
        uids.retain(uid)
        weakref.finalize(self, _release, layers, self.stack, uids, uid)


def _release(layers: LayerCounts, stack: Sequence[str], uids: UidPool, uid: int) -> None:
    layers.release(stack)
    uids.release(uid)
