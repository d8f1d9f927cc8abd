"""The near side of a cell: hands it a job and reads back how the job ended."""

from __future__ import annotations

import contextlib
import select
import socket
import time
from collections.abc import Mapping
from typing import Any

from agentrl import SandboxFault
from agentrl_sandboxes.inside import frames

_CHUNK = 2**18
_GRACE_S = 60.0  # a supervisor that is this late, on top of the program's own time, is lost


class CellGone(Exception):
    """The cell ended while it was needed; whose fault that is, is for the sandbox to find out."""


class Cell:
    """One cell, for one job at a time."""

    def __init__(self, fd: int, pid: int, generation: int) -> None:
        self.pid, self.generation = pid, generation
        self._sock = socket.socket(fileno=fd)
        self._ready = False
        self.clean = True  # whether the next job can go here

    def run(
        self, job: Mapping[str, Any], private: Mapping[str, Any], payload: bytes = b"", on_output: Any = None
    ) -> tuple[dict[str, Any], bytes]:
        """Do a job: header and payload of its result.

        `job` is for the supervisor; `private`, and the payload (files, or standard input), only for the program.
        Raises CellGone, and SandboxFault for a cell that is stuck. After any exception the cell is not to be used.
        """
        files = payload if job["kind"] == "put" else b""
        header = {**job, "stdin": len(payload) - len(files)}
        pending = memoryview(frames.pack(header) + frames.pack(dict(private), len(files)) + payload)
        self.clean = False
        try:
            self.greet()
            until = time.monotonic() + job["limits"]["wall_s"] + _GRACE_S
            while True:
                pending = self._exchange(pending, until)
                frame = self._receive()
                if "chunk" not in frame[0]:
                    self.clean = not pending and not frame[0].get("last", False)
                    return frame
                on_output(frame[0]["chunk"], frame[1])
        except TimeoutError as error:
            raise SandboxFault(
                f"the supervisor did not answer {_GRACE_S:g} s after the program's time was up"
            ) from error
        except OSError as error:
            raise CellGone(str(error)) from error
        except ValueError as error:
            raise SandboxFault(f"the supervisor's answer cannot be read: {error}") from error

    def _exchange(self, pending: memoryview, until: float) -> memoryview:
        """Wait until something can be read, sending what is pending meanwhile; what is still pending then."""
        while True:
            left = until - time.monotonic()
            if left <= 0:
                raise TimeoutError
            poller = select.poll()
            poller.register(self._sock, select.POLLIN | (select.POLLOUT if pending else 0))
            for _, event in poller.poll(left * 1000):
                if event & (select.POLLIN | select.POLLHUP | select.POLLERR):
                    return pending
                pending = pending[self._sock.send(pending[:_CHUNK], socket.MSG_DONTWAIT) :]

    def close(self) -> None:
        """The cell ends when nobody holds the other end of its socket."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)  # wakes a thread that waits for a result
        self._sock.close()

    def greet(self) -> None:
        """Wait until it is there. Raises SandboxFault when it could not get there."""
        if self._ready:
            return
        self._receive()
        self._ready = True

    def _receive(self) -> tuple[dict[str, Any], bytes]:
        frame = frames.receive(self._sock)
        if frame is None:
            raise CellGone("it ended")
        if "fault" in frame[0]:
            raise SandboxFault(f"the supervisor failed: {frame[0]['fault']}")
        return frame
