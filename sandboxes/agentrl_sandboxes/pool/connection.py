"""A connection to a pool: requests from many threads, each of which waits for its own answer."""

from __future__ import annotations

import contextlib
import itertools
import queue
import ssl
import threading

from agentrl import ConfigError, DataError, Output, SandboxFault
from agentrl_sandboxes.pool.messages import (
    LARGEST_MESSAGE,
    TOKEN_VARIABLE,
    Handshake,
    PoolAnswer,
    PoolRequest,
    pack_message,
    unpack_message,
)

_ERRORS = {"ConfigError": ConfigError, "DataError": DataError}
_ANSWER_S = 300.0
_Reply = tuple[PoolAnswer, bytes]


class PoolBusy(Exception):
    """The pool has no room for another sandbox now."""


class Connection:
    """Opened on construction. Raises SandboxFault when nobody answers, ConfigError for a wrong token."""

    def __init__(self, url: str, token: str, ca: str, timeout_s: float) -> None:
        """`ca`: a file with certificates to trust; `timeout_s`: how long connecting may take."""
        from websockets.exceptions import InvalidStatus, WebSocketException
        from websockets.sync.client import connect

        self._url = url
        self._resources = contextlib.ExitStack()
        try:
            opening = connect(
                url, additional_headers={"Authorization": f"Bearer {token}"}, ssl=_tls(url, ca), compression=None,
                proxy=None, max_size=LARGEST_MESSAGE, open_timeout=timeout_s, ping_timeout=60, close_timeout=2,
            )  # fmt: skip
            self._socket = self._resources.enter_context(opening)
            self.handshake: Handshake = unpack_message(self._socket.recv(timeout=timeout_s))[0]["handshake"]
        except InvalidStatus as error:
            if error.response.status_code == 401:
                raise ConfigError(
                    f"the pool at {url} does not know this token. Give the one that `agentrl sandbox serve` showed, as "
                    f"the setting `token` or the variable {TOKEN_VARIABLE}."
                ) from error
            raise SandboxFault(f"the pool at {url} refused: {error}") from error
        except (OSError, WebSocketException, DataError, KeyError) as error:
            self._resources.close()
            raise SandboxFault(f"no pool answers at {url}: {error}") from error
        self._numbers = itertools.count(1)
        self._waiting: dict[int, queue.SimpleQueue[_Reply | None]] = {}
        self._lock = threading.Lock()
        self._gone = ""
        self._users = 1
        self.forgotten: list[int] = []  # snapshots that nobody holds any more; the pool is told with the next request
        threading.Thread(target=self._receive, name="agentrl pool", daemon=True).start()

    def ask(
        self,
        request: PoolRequest,
        payload: bytes = b"",
        *,
        timeout_s: float = _ANSWER_S,
        on_output: Output | None = None,
    ) -> _Reply:
        """The answer to one request. Raises what the pool raised, PoolBusy, or SandboxFault when it is gone."""
        number = next(self._numbers)
        replies: queue.SimpleQueue[_Reply | None] = queue.SimpleQueue()
        with self._lock:
            if self._gone:
                raise SandboxFault(self._gone)
            self._waiting[number] = replies
        try:
            self._send({**request, "id": number}, payload)
            while True:
                answer, data = self._next(replies, request["do"], timeout_s)
                if "chunk" not in answer:
                    break
                self._listen(number, answer, data, on_output)
        finally:
            self._waiting.pop(number, None)
        if "error" in answer:
            if answer["error"] == "Busy":
                raise PoolBusy(answer["message"])
            raise _ERRORS.get(answer["error"], SandboxFault)(answer["message"])
        return answer, data

    def tell_forgotten(self) -> None:
        """Let the pool free snapshots that were collected meanwhile."""
        numbers: list[int] = []
        while self.forgotten:
            numbers.append(self.forgotten.pop())
        if numbers:
            self.ask({"do": "drop", "snapshots": numbers})

    def share(self) -> Connection:
        """For one more sandbox, which lives in the same worker."""
        with self._lock:
            self._users += 1
        return self

    def leave(self) -> None:
        """The last one closes the connection."""
        with self._lock:
            self._users -= 1
            last = self._users == 0
        if last:
            self.close()

    def close(self) -> None:
        """At once, for everybody; the pool closes what was made on it."""
        self._gone = self._gone or "the connection to the pool was closed"
        self._resources.close()

    def _listen(self, number: int, answer: PoolAnswer, data: bytes, on_output: Output | None) -> None:
        """Hand on a piece of output; the pool waits until it was taken."""
        try:
            if on_output is not None:
                on_output(answer["chunk"], data)
        except BaseException:
            with contextlib.suppress(SandboxFault):  # then the run has ended with the connection
                self._send({"do": "cancel", "of": number})
            raise
        self._send({"do": "ack", "of": number})

    def _next(self, replies: queue.SimpleQueue[_Reply | None], what: str, timeout_s: float) -> _Reply:
        try:
            reply = replies.get(timeout=timeout_s)
        except queue.Empty:
            raise SandboxFault(f"the pool at {self._url} did not answer `{what}` in {timeout_s:g} s") from None
        if reply is None:
            raise SandboxFault(self._gone)
        return reply

    def _send(self, request: PoolRequest, payload: bytes = b"") -> None:
        from websockets.exceptions import WebSocketException

        try:
            self._socket.send(pack_message(request, payload))
        except (OSError, WebSocketException) as error:
            raise SandboxFault(self._gone or f"the worker of the pool at {self._url} is gone: {error}") from error

    def _receive(self) -> None:
        try:
            while True:
                header, payload = unpack_message(self._socket.recv())
                replies = self._waiting.get(header.get("id", 0))
                if replies is not None:
                    replies.put((header, payload))
        except Exception as error:  # whatever ends this connection ends every request on it
            with self._lock:
                self._gone = (
                    self._gone or f"the worker of the pool at {self._url} that held this sandbox is gone: {error}"
                )
                waiting = list(self._waiting.values())
            for each in waiting:
                each.put(None)


def _tls(url: str, ca: str) -> ssl.SSLContext | None:
    return ssl.create_default_context(cafile=ca or None) if url.startswith("wss:") else None
