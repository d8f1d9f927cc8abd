"""The three streams of a subprocess: fed and read without waiting for either, kept within bounds."""

from __future__ import annotations

import contextlib
import os
import selectors
import subprocess
import time
from typing import IO, Literal, cast

from agentrl import Output, OutputStream
from agentrl_sandboxes.inside.capture import Capture

_CHUNK = 2**18
_Name = Literal["stdout", "stderr"]


class Streams:
    """Of one process that was started with three pipes."""

    def __init__(self, process: subprocess.Popen[bytes], stdin: bytes, keep: int, on_output: Output | None) -> None:
        """`keep`: bytes of each output that are kept, half from its head, half from its tail."""
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
            self._serve(0.02)
            if sum(capture.total for capture in self._captures.values()) > flood_bytes:
                return "output_cut"
        return ""

    def drain(self) -> None:
        """Take what is in the pipes still, then close them; whoever else may hold them is not waited for."""
        while self._serve(0):
            pass
        for key in list(self._selector.get_map().values()):
            self._close(cast(IO[bytes], key.fileobj))
        self._selector.close()

    def output(self, name: _Name) -> OutputStream:
        """What was kept of a stream."""
        head, tail = self._captures[name].parts()
        return OutputStream(bytes(head), bytes(tail), self._captures[name].total)

    def _serve(self, timeout_s: float) -> bool:
        """Serve what is ready; whether anything was read."""
        read = False
        for key, _ in self._selector.select(timeout_s):
            stream = cast(IO[bytes], key.fileobj)
            read = (self._feed(stream) if key.data == "stdin" else self._read(stream, key.data)) or read
        return read

    def _read(self, stream: IO[bytes], name: _Name) -> bool:
        data = os.read(stream.fileno(), _CHUNK)
        if not data:
            self._close(stream)
            return False
        self._captures[name].add(data)
        if self._on_output is not None:
            self._on_output(name, data)
        return True

    def _feed(self, stream: IO[bytes]) -> bool:
        with contextlib.suppress(BrokenPipeError):
            self._pending = self._pending[os.write(stream.fileno(), self._pending[:65536]) :]
            if self._pending:
                return False
        self._close(stream)
        return False

    def _close(self, stream: IO[bytes]) -> None:
        self._selector.unregister(stream)
        with contextlib.suppress(BrokenPipeError):
            stream.close()
