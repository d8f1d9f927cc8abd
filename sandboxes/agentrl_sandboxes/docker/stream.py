"""This process's end of a container's one stream: channels to supervisors, requests to its first process."""

from __future__ import annotations

import contextlib
import itertools
import json
import queue
import selectors
import socket
import threading
from typing import Any

from agentrl import SandboxFault
from agentrl_sandboxes.inside import mux
from agentrl_sandboxes.inside.messages import Answer, ContainerFacts, Request

_CHUNK = 2**18
_ANSWER_S = 60.0
_KEPT_ERRORS = 4096  # bytes of what the container writes to standard error


class Channel:
    """One supervisor: what its socket on this side still has to get, and how much may still be sent."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.pending = bytearray()
        self.credit = mux.WINDOW
        self.ended = False


class Stream:
    """Carries everything between a container and this process; one thread of its own.

    A supervisor is reached through an ordinary socket, as if it were on this machine: `open` returns its descriptor.
    """

    def __init__(self, sock: socket.socket, name: str) -> None:
        self._sock, self._name = sock, name
        self._sending = threading.Lock()
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._channels: dict[int, Channel] = {}
        self._answers: dict[int, queue.SimpleQueue[Answer | None]] = {0: queue.SimpleQueue()}
        self._splitter, self._unread, self._errors = mux.Splitter(), bytearray(), bytearray()
        self._wake_r, self._wake_w = socket.socketpair()
        self._new: list[int] = []
        self._gone = ""
        self._thread = threading.Thread(target=self._work, name=f"agentrl docker {name}", daemon=True)
        self._thread.start()

    def handshake(self, boot: bytes, timeout_s: float) -> ContainerFacts:
        """Send what the first process is to run; what it finds out there, within `timeout_s` seconds."""
        self._send(boot)
        facts: ContainerFacts = self._await(0, "start", timeout_s)
        return facts

    def ask(self, request: Request) -> Answer:
        """A request to the first process. Raises SandboxFault when it fails or is gone."""
        number = next(self._numbers)
        with self._lock:
            self._check()
            self._answers[number] = queue.SimpleQueue()
        self._send(mux.pack(mux.ASK, number, json.dumps(request).encode()))
        answer: Answer = self._await(number, request["do"], _ANSWER_S)
        return answer

    def open(self) -> tuple[int, int]:
        """A new supervisor: its descriptor, and its number."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        number = next(self._numbers)
        with self._lock:
            if self._gone:
                ours.close()
                theirs.close()
            self._check()
            self._channels[number] = Channel(ours)
            self._new.append(number)
        self._send(mux.pack(mux.OPEN, number))
        self._wake()
        return theirs.detach(), number

    def alive(self) -> bool:
        """Whether nothing has ended the stream yet."""
        return not self._gone

    def error_output(self) -> str:
        """What the container wrote to standard error."""
        return self._errors.decode(errors="replace").strip()

    def close(self) -> None:
        """The container's first process ends when it sees this. Safe twice."""
        self.abandon()
        if threading.current_thread() is not self._thread:
            self._thread.join(10)

    def abandon(self) -> None:
        """Likewise, without waiting and without a lock: whoever collects garbage may hold any."""
        self._gone = self._gone or "the sandbox was closed"
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._wake()

    def _await(self, number: int, what: str, timeout_s: float) -> Any:
        try:
            answer = self._answers[number].get(timeout=timeout_s)
        except queue.Empty:
            raise SandboxFault(f"the container {self._name} did not answer `{what}` in {timeout_s:g} s") from None
        finally:
            self._answers.pop(number, None)
        if answer is None:
            raise SandboxFault(f"the container {self._name} is gone: {self._gone} {self.error_output()}".strip())
        if "fault" in answer:
            raise SandboxFault(f"the container {self._name} failed: {answer['fault']}")
        return answer

    def _check(self) -> None:
        if self._gone:
            raise SandboxFault(f"the container {self._name} is gone: {self._gone} {self.error_output()}".strip())

    def _send(self, data: bytes) -> None:
        try:
            with self._sending:
                self._sock.sendall(data)
        except OSError as error:
            raise SandboxFault(f"the container {self._name} is gone: {self._gone or error}") from error

    def _wake(self) -> None:
        with contextlib.suppress(OSError):
            self._wake_w.send(b".")

    def _work(self) -> None:
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(self._sock, selectors.EVENT_READ, -1)
                selector.register(self._wake_r, selectors.EVENT_READ, -2)
                while not self._gone:
                    for key, events in selector.select():
                        self._serve(key.data, events, selector)
        except (OSError, ValueError, SandboxFault) as error:
            self._gone = self._gone or f"{error}"
        finally:
            self._end()

    def _serve(self, number: int, events: int, selector: selectors.BaseSelector) -> None:
        if number == -1:
            self._read(selector)
        elif number == -2:
            self._wake_r.recv(4096)
            with self._lock:
                fresh, self._new = self._new, []
            for each in fresh:
                if each in self._channels:
                    self._watch(each, selector)
        elif number in self._channels:
            if events & selectors.EVENT_WRITE:
                self._deliver(number, selector)
            if events & selectors.EVENT_READ and number in self._channels:
                self._forward(number, selector)

    def _read(self, selector: selectors.BaseSelector) -> None:
        data = self._sock.recv(_CHUNK)
        if not data:
            self._gone = self._gone or "its first process ended"
            return
        self._unread += data
        while len(self._unread) >= 8:
            end = 8 + int.from_bytes(self._unread[4:8], "big")
            if len(self._unread) < end:
                return
            content = bytes(self._unread[8:end])
            if self._unread[0] == 1:
                for kind, number, part in self._splitter.feed(content):
                    self._frame(kind, number, part, selector)
            elif self._unread[0] == 2:
                self._errors = (self._errors + content)[-_KEPT_ERRORS:]
            del self._unread[:end]

    def _frame(self, kind: int, number: int, data: bytes, selector: selectors.BaseSelector) -> None:
        if kind == mux.ANSWER and number in self._answers:
            self._answers[number].put(json.loads(data))
        channel = self._channels.get(number)
        if channel is None:
            return
        if kind == mux.DATA:
            channel.pending += data
            self._deliver(number, selector)
        elif kind == mux.ACK:
            channel.credit += int.from_bytes(data, "big")
            self._watch(number, selector)
        elif kind == mux.CLOSE:
            channel.ended = True
            self._deliver(number, selector)

    def _deliver(self, number: int, selector: selectors.BaseSelector) -> None:
        """Give this end of a channel what came for it."""
        channel = self._channels[number]
        with contextlib.suppress(BlockingIOError):
            try:
                while channel.pending:
                    del channel.pending[: channel.sock.send(memoryview(channel.pending)[:_CHUNK])]
            except (BrokenPipeError, ConnectionResetError):
                channel.pending.clear()
        if channel.ended and not channel.pending:
            self._drop(number, selector)
        else:
            self._watch(number, selector)

    def _forward(self, number: int, selector: selectors.BaseSelector) -> None:
        """Send on what came from this end of a channel."""
        channel = self._channels[number]
        try:
            data = channel.sock.recv(min(channel.credit, 65536))
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            channel.credit -= len(data)
            self._send(mux.pack(mux.DATA, number, data))
            self._watch(number, selector)
            return
        self._send(mux.pack(mux.CLOSE, number))
        self._drop(number, selector)

    def _watch(self, number: int, selector: selectors.BaseSelector) -> None:
        channel = self._channels[number]
        events = selectors.EVENT_READ if channel.credit > 0 else 0
        events |= selectors.EVENT_WRITE if channel.pending else 0
        registered = channel.sock in selector.get_map()
        if not events and registered:
            selector.unregister(channel.sock)
        elif events and registered:
            selector.modify(channel.sock, events, number)
        elif events:
            selector.register(channel.sock, events, number)

    def _drop(self, number: int, selector: selectors.BaseSelector) -> None:
        with self._lock:
            channel = self._channels.pop(number)
        if channel.sock in selector.get_map():
            selector.unregister(channel.sock)
        channel.sock.close()

    def _end(self) -> None:
        with self._lock:
            self._gone = self._gone or "the stream ended"
            channels, self._channels = list(self._channels.values()), {}
        for channel in channels:
            channel.sock.close()
        for answers in list(self._answers.values()):
            answers.put(None)
        for sock in (self._sock, self._wake_r, self._wake_w):
            sock.close()
