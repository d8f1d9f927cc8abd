"""This process's side of a supervisor: hands it a job, and reads back how the run ended."""

from __future__ import annotations

import contextlib
import select
import socket
import time
from typing import Any

from agentrl import Output, SandboxFault
from agentrl_sandboxes.inside import frames
from agentrl_sandboxes.inside.messages import Answer, FinalEnding, Job, Task

_CHUNK = 2**18
_GRACE_S = 60.0  # a supervisor that is this late, on top of the program's own time, is lost


class TooLong(Exception):
    """Arguments, code or variables of a run are more than a supervisor takes; nothing was started."""


class SupervisorGone(Exception):
    """The supervisor ended while it was needed; whose fault that is, is for the sandbox to find out."""


class Supervisor:
    """One supervisor, for one job at a time."""

    def __init__(self, fd: int, number: int, generation: int) -> None:
        """`number` names it to whoever started it; `generation` counts the resets of its sandbox."""
        self.number, self.generation = number, generation
        self._sock = socket.socket(fileno=fd)
        self._ready = False
        self.reusable = True  # whether the next job can go here
        self.last_words: Answer = {}  # why it could not go on, if it said so

    def run(
        self, job: Job, task: Task, payload: bytes = b"", on_output: Output | None = None
    ) -> tuple[FinalEnding, bytes]:
        """Do a job: how it ended, and the kept output.

        `job` is for the supervisor; `task`, and the payload (files, or standard input), only for the program.
        Raises TooLong, SupervisorGone, and SandboxFault for one that is stuck. After the last two it is not to be used
        again.
        """
        files = payload if job["kind"] == "files" else b""
        header: Job = {**job, "stdin": len(payload) - len(files)}
        start = frames.pack(header) + frames.pack(task, len(files))
        if len(start) > frames.MAX_HEADER:
            raise TooLong(f"{len(start)} bytes of arguments, code and variables are more than {frames.MAX_HEADER}")
        pending = memoryview(start + payload)
        self.reusable = False
        try:
            self.wait_ready()
            deadline = time.monotonic() + job["limits"]["wall_s"] + _GRACE_S
            while True:
                pending = self._exchange(pending, deadline)
                answer, data = self._receive()
                if "chunk" not in answer:
                    ending: FinalEnding = answer
                    self.reusable = not pending and not ending.get("last", False)
                    return ending, data
                if on_output is not None:
                    on_output(answer["chunk"], data)
        except TimeoutError as error:
            raise SandboxFault(
                f"the supervisor did not answer {_GRACE_S:g} s after the program's time was up"
            ) from error
        except OSError as error:
            raise SupervisorGone(str(error)) from error
        except ValueError as error:
            raise SandboxFault(f"the supervisor's answer cannot be read: {error}") from error

    def wait_ready(self) -> None:
        """Wait until it is there. Raises SandboxFault when it could not get there."""
        if not self._ready:
            self._receive()
            self._ready = True

    def close(self) -> None:
        """The supervisor ends when nobody holds the other end of its socket."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)  # wakes a thread that waits for a result
        self._sock.close()

    def _exchange(self, pending: memoryview, deadline: float) -> memoryview:
        """Wait until something can be read, sending what is pending meanwhile; what is still pending then."""
        while True:
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise TimeoutError
            poller = select.poll()
            poller.register(self._sock, select.POLLIN | (select.POLLOUT if pending else 0))
            for _, event in poller.poll(left_s * 1000):
                if event & (select.POLLIN | select.POLLHUP | select.POLLERR):
                    return pending
                pending = pending[self._sock.send(pending[:_CHUNK], socket.MSG_DONTWAIT) :]

    def _receive(self) -> tuple[Any, bytes]:
        frame = frames.receive(self._sock)
        if frame is None:
            raise SupervisorGone("it ended")
        if "fault" in frame[0]:
            raise SandboxFault(f"the supervisor failed: {frame[0]['fault']}")
        if "crowded" in frame[0] or "out_of_memory" in frame[0]:
            self.last_words = frame[0]
            raise SupervisorGone("it had no room")
        return frame
