"""Moves bytes between a subprocess and memory, without waiting for either and without keeping more than asked for."""

from __future__ import annotations

import contextlib
import os
import selectors
import subprocess
import time
from collections.abc import Callable
from typing import Any, Literal

from agentrl import OutputStream
from agentrl_sandboxes.inside.capture import Capture

_CHUNK = 2**18
_Name = Literal["stdout", "stderr"]


class Pump:
    """The three streams of one process."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        stdin: bytes,
        keep: int,
        on_output: Callable[[_Name, bytes], None] | None,
    ) -> None:
        self._process = process
        self._pending = memoryview(stdin)
        self._on_output = on_output
        self._captures: dict[_Name, Capture] = {
            "stdout": Capture(keep - keep // 2, keep // 2),
            "stderr": Capture(keep - keep // 2, keep // 2),
        }
        self._selector = selectors.DefaultSelector()
        for stream, event, name in (
            (process.stdin, selectors.EVENT_WRITE, "stdin"),
            (process.stdout, selectors.EVENT_READ, "stdout"),
            (process.stderr, selectors.EVENT_READ, "stderr"),
        ):
            if stream is not None:
                os.set_blocking(stream.fileno(), False)
                self._selector.register(stream, event, name)

    def run(self, deadline: float, flood_bytes: int) -> Literal["", "timeout", "output_cut"]:
        """Until the process ends (""), the deadline passes or more than `flood_bytes` were written."""
        while self._process.poll() is None:
            if time.monotonic() >= deadline:
                return "timeout"
            self._turn(0.02)
            if sum(capture.total for capture in self._captures.values()) > flood_bytes:
                return "output_cut"
        return ""

    def drain(self) -> None:
        """Take what is in the pipes still, then close them; whoever else may hold them is not waited for."""
        while self._turn(0):
            pass
        for key in list(self._selector.get_map().values()):
            self._close(key.fileobj)
        self._selector.close()

    def stream(self, name: _Name) -> OutputStream:
        """What was kept of a stream."""
        head, tail = self._captures[name].parts()
        return OutputStream(bytes(head), bytes(tail), self._captures[name].total)

    def _turn(self, timeout_s: float) -> bool:
        """Serve what is ready; whether anything was read."""
        found = False
        for key, _ in self._selector.select(timeout_s):
            found = (self._feed(key.fileobj) if key.data == "stdin" else self._read(key.fileobj, key.data)) or found
        return found

    def _read(self, stream: Any, name: _Name) -> bool:
        data = os.read(stream.fileno(), _CHUNK)
        if not data:
            self._close(stream)
            return False
        self._captures[name].add(data)
        if self._on_output is not None:
            self._on_output(name, data)
        return True

    def _feed(self, stream: Any) -> bool:
        with contextlib.suppress(BrokenPipeError):
            self._pending = self._pending[os.write(stream.fileno(), self._pending[:65536]) :]
            if self._pending:
                return False
        self._close(stream)
        return False

    def _close(self, stream: Any) -> None:
        self._selector.unregister(stream)
        with contextlib.suppress(BrokenPipeError):
            stream.close()
