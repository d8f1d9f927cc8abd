"""Which frozen layers of files are still needed, and which uid they belong to."""

from __future__ import annotations

import threading
import weakref
from collections import Counter, deque
from collections.abc import Sequence

from agentrl import SandboxFault, SandboxSnapshot


class Identities:
    """Lends uids; sandboxes that share files (forks) share one."""

    def __init__(self, first: int, count: int) -> None:
        self._free = deque(range(first, first + count))
        self._holders: Counter[int] = Counter()
        self._lock = threading.RLock()  # a snapshot may be collected while this thread holds it

    def lend(self) -> int:
        """A uid that nobody holds."""
        with self._lock:
            if not self._free:
                raise SandboxFault(f"all {len(self._holders)} uids for sandboxes are taken; close some sandboxes")
            identity = self._free.popleft()
            self._holders[identity] = 1
            return identity

    def hold(self, identity: int) -> int:
        """One more holder of a uid that is lent already."""
        with self._lock:
            self._holders[identity] += 1
            return identity

    def give_back(self, identity: int) -> None:
        """One holder less."""
        with self._lock:
            self._holders[identity] -= 1
            if not self._holders[identity]:
                del self._holders[identity]
                self._free.append(identity)


class LayerBook:
    """Counts who needs each frozen layer; those that nobody needs any more wait in `dead` to be freed."""

    def __init__(self) -> None:
        self._needed: Counter[str] = Counter()
        self._dead: list[str] = []
        self._lock = threading.RLock()  # as above

    def hold(self, layers: Sequence[str]) -> None:
        with self._lock:
            self._needed.update(layers)

    def release(self, layers: Sequence[str]) -> None:
        with self._lock:
            for layer in layers:
                self._needed[layer] -= 1
                if not self._needed[layer]:
                    del self._needed[layer]
                    self._dead.append(layer)

    def dead(self) -> list[str]:
        """Take over the layers that are to be freed."""
        with self._lock:
            found, self._dead = self._dead, []
            return found

    def still_dead(self, layers: Sequence[str]) -> None:
        """They could not be freed: somebody else will."""
        with self._lock:
            self._dead += layers


class LayerSnapshot(SandboxSnapshot):
    """A stack of frozen layers, kept alive by this object."""

    def __init__(self, stack: Sequence[str], identity: int, book: LayerBook, identities: Identities) -> None:
        self.stack, self.identity = tuple(stack), identity
        book.hold(self.stack)
        identities.hold(identity)
        weakref.finalize(self, _let_go, book, self.stack, identities, identity)


def _let_go(book: LayerBook, stack: Sequence[str], identities: Identities, identity: int) -> None:
    book.release(stack)
    identities.give_back(identity)
