"""The output of a program: its beginning, its end and how much there was, in bounded memory that can be wiped."""

from __future__ import annotations


class Capture:
    """Keeps at most `head` bytes from the beginning of a stream and `tail` bytes from its end."""

    def __init__(self, head: int, tail: int) -> None:
        self.total = 0
        self._keep_head, self._keep_tail = head, tail
        self._head, self._tail = bytearray(), bytearray()

    def add(self, data: memoryview | bytes) -> None:
        """Take the next bytes of the stream."""
        self.total += len(data)
        room = self._keep_head - len(self._head)
        if room > 0:
            self._head += data[:room]
            data = data[room:]
        if not data or not self._keep_tail:
            return
        self._tail += data[-self._keep_tail :]
        if len(self._tail) > 2 * self._keep_tail + 65536:  # seldom, so that a flood costs little
            del self._tail[: -self._keep_tail]

    def parts(self) -> tuple[memoryview, memoryview]:
        """Head and tail: the whole stream where nothing had to be left out."""
        tail = memoryview(self._tail)
        return memoryview(self._head), tail[-self._keep_tail :] if self._keep_tail else tail[:0]

    def wipe(self) -> None:
        """Overwrite what was kept: a process forked off later must not find it in its memory."""
        for buffer in (self._head, self._tail):
            buffer[:] = bytes(len(buffer))
