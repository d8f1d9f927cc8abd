"""The near side of a cell: hands it a job and reads back how the job ended."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import time
from collections.abc import Mapping
from typing import Any

from agentrl import ExecResult, ExecUsage, OutputStream, SandboxFault, SandboxLimits
from agentrl_sandboxes.inside import frames

_CHUNK = 2**18
_GRACE_S = 60.0  # a supervisor that is this late, on top of the program's own time, is lost
_PATH = "/opt/agentrl/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


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


def job_limits(limits: SandboxLimits, timeout_s: float | None) -> dict[str, Any]:
    """What a cell enforces for one job."""
    keep = int(limits.output_kib * 1024)
    return {
        "wall_s": min(timeout_s, limits.wall_s) if timeout_s is not None else limits.wall_s,
        "cpu_s": limits.cpu_s,
        "memory_bytes": int(limits.memory_mib * 2**20),
        "pids": int(limits.pids),
        "pids_slack": 8,  # the supervisors have the same uid
        "file_bytes": int(limits.file_mib * 2**20),
        "head": keep - keep // 2,
        "tail": keep // 2,
        "flood_bytes": int(limits.flood_mib * 2**20),
    }


def environment(python: str, *layers: Mapping[str, str]) -> dict[str, str]:
    """Environment variables of a program: nothing of this process's own."""
    found = {
        "PATH": _PATH if python.startswith("/usr/bin/") else f"{os.path.dirname(python)}:{_PATH}",
        "HOME": "/home/agent",
        "USER": "agent",
        "LANG": "C.UTF-8",
        "TERM": "dumb",
    }
    for layer in layers:
        found.update(layer)
    return found


def read_result(header: Mapping[str, Any], data: bytes) -> ExecResult:
    """An ExecResult from what a cell reports."""
    streams, at = [], 0
    for head, tail, total in header["streams"]:
        streams.append(OutputStream(data[at : at + head], data[at + head : at + head + tail], total))
        at += head + tail
    usage = ExecUsage(header["wall_s"], header["cpu_s"], header["memory_kib"] / 1024)
    return ExecResult(
        header["status"], header["exit_code"], header["signal"], streams[0], streams[1], usage,
        header["killed"], header["reason"],
    )  # fmt: skip
