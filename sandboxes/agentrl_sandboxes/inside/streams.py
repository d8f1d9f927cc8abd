"""The pipes of a program, seen from its supervisor; what goes through them leaves no trace in its memory."""

from __future__ import annotations

import contextlib
import os
import select
import socket

from agentrl_sandboxes.inside import frames
from agentrl_sandboxes.inside.capture import Capture

_BUFFER = memoryview(bytearray(2**16))  # one for all, because it is only touched as far as it is used
_PIPE_MAX = 2**20


class Outputs:
    """Standard output and error: read as they come, kept within bounds, handed on if somebody listens."""

    def __init__(self, stdout: int, stderr: int, sock: socket.socket) -> None:
        self.fds = (stdout, stderr)
        self._names = {stdout: "stdout", stderr: "stderr"}
        self._sock = sock
        self._used = 0
        self._captures: dict[int, Capture] = {}
        self._stream = False
        for fd in self.fds:
            os.set_blocking(fd, False)

    def start(self, head: int, tail: int, stream: bool) -> None:
        """Begin to keep anew, for the next call."""
        self._captures = {fd: Capture(head, tail) for fd in self.fds}
        self._stream = stream

    def read(self, fd: int) -> bool:
        """Take what is there; False at the end of the stream."""
        try:
            count = os.readv(fd, [_BUFFER])
        except BlockingIOError:
            return True
        if not count:
            return False
        self._used = max(self._used, count)
        data = _BUFFER[:count]
        self._captures[fd].add(data)
        if self._stream:
            frames.send(self._sock, {"chunk": self._names[fd]}, data)
        return True

    def drain(self) -> None:
        """Take what is in the pipes still; a session that lives may go on writing, and is not waited for."""
        for fd in self.fds:
            enough = self._captures[fd].total + _PIPE_MAX
            while select.select([fd], [], [], 0)[0] and self.read(fd):
                if self._captures[fd].total > enough:
                    break

    def total(self) -> int:
        """Bytes read from both since `start`."""
        return sum(capture.total for capture in self._captures.values())

    def kept(self) -> list[tuple[memoryview, memoryview, int]]:
        """Head, tail and total of each."""
        return [(*capture.parts(), capture.total) for capture in self._captures.values()]

    def wipe(self) -> None:
        """Forget what was read."""
        _BUFFER[: self._used] = bytes(self._used)
        for capture in self._captures.values():
            capture.wipe()

    def close(self) -> None:
        """Free both descriptors; once."""
        for fd in self.fds:
            os.close(fd)


class Input:
    """Standard input: `unsent` bytes that come after the job on the same socket, moved by the kernel, never read here.

    It waits for data and for room in turn, so that neither side is asked again and again.
    """

    def __init__(self, sock: socket.socket, pipe: int) -> None:
        self._sock, self._pipe, self.unsent = sock.fileno(), pipe, 0
        if pipe >= 0:
            os.set_blocking(pipe, False)

    def start(self, unsent: int) -> None:
        """The job has been read, so that what is next on the socket is this input."""
        self.unsent = unsent
        if not unsent:
            self.close()

    def register(self, poller: select.poll) -> None:
        """The socket is waited for: for input, and then for its end."""
        poller.register(self._sock, select.POLLIN)

    def ready(self, fd: int, event: int, poller: select.poll) -> bool:
        """Go on where `fd` is one of the two; False where it is not, or nothing is left to do."""
        if not self.unsent or fd not in (self._sock, self._pipe):
            return False
        if fd == self._sock:
            poller.unregister(fd)
            poller.register(self._pipe, select.POLLOUT)
            return True
        poller.unregister(fd)
        if event & (select.POLLERR | select.POLLHUP) or not self._move():
            self.close()  # nobody reads; what is unsent stays on the socket, and this supervisor is not used again
            return True
        poller.register(self._sock, select.POLLIN)
        if not self.unsent:
            self.close()
        return True

    def close(self) -> None:
        """The program sees the end of its input. Safe twice."""
        if self._pipe >= 0:
            os.close(self._pipe)
            self._pipe = -1

    def _move(self) -> bool:
        try:
            moved = _splice(self._sock, self._pipe, min(self.unsent, 65536))
        except BlockingIOError:
            return True
        except OSError:
            return False
        self.unsent -= moved
        return moved > 0


def _splice(source: int, target: int, count: int) -> int:
    if hasattr(os, "splice"):  # Python 3.10
        return os.splice(source, target, count, flags=os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK)
    with contextlib.suppress(BlockingIOError):
        return os.write(target, os.read(source, min(count, 4096)))  # a pipe with room has room for that
    return 0
