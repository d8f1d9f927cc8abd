"""A connection to a pool: requests from many threads, each of which waits for its own answer."""

from __future__ import annotations

import contextlib
import itertools
import queue
import threading
from collections.abc import Callable
from typing import Any

from agentrl import ConfigError, DataError, SandboxFault
from agentrl_sandboxes.pool.messages import pack_message, unpack_message

_LARGEST_MESSAGE = 2**30
_ERRORS = {"ConfigError": ConfigError, "DataError": DataError}
_Answer = tuple[dict[str, Any], bytes]


class PoolBusy(Exception):
    """The pool has no place now."""


class Link:
    """Opened on construction. Raises SandboxFault when nobody answers, ConfigError for a wrong token."""

    def __init__(self, url: str, token: str, ca: str, timeout_s: float) -> None:
        from websockets.exceptions import InvalidStatus, WebSocketException
        from websockets.sync.client import connect

        self._url = url
        self._held = contextlib.ExitStack()
        try:
            opening = connect(
                url, additional_headers={"Authorization": f"Bearer {token}"}, ssl=_tls(url, ca), compression=None,
                proxy=None, max_size=_LARGEST_MESSAGE, open_timeout=timeout_s, ping_timeout=60, close_timeout=2,
            )  # fmt: skip
            self._connection: Any = self._held.enter_context(opening)
            self.hello: dict[str, Any] = unpack_message(self._connection.recv(timeout=timeout_s))[0]["hello"]
        except InvalidStatus as error:
            if error.response.status_code == 401:
                raise ConfigError(
                    f"the pool at {url} does not know this token. Give the one that `agentrl sandbox serve` showed, as "
                    "the setting `token` or the variable AGENTRL_POOL_TOKEN."
                ) from error
            raise SandboxFault(f"the pool at {url} refused: {error}") from error
        except (OSError, WebSocketException, DataError, KeyError) as error:
            self._held.close()
            raise SandboxFault(f"no pool answers at {url}: {error}") from error
        self._numbers = itertools.count(1)
        self._waiting: dict[int, queue.SimpleQueue[_Answer | None]] = {}
        self._lock = threading.Lock()
        self._gone = ""
        self._users = 1
        self.dropped: list[int] = []  # snapshots that nobody holds any more, to be told with the next request
        threading.Thread(target=self._receive, name="agentrl pool", daemon=True).start()

    def ask(
        self,
        do: str,
        request: dict[str, Any],
        payload: bytes = b"",
        *,
        timeout_s: float = 300.0,
        on_chunk: Callable[[str, bytes], None] | None = None,
    ) -> _Answer:
        """The answer to one request. Raises what the pool raised, PoolBusy, or SandboxFault when it is gone."""
        number = next(self._numbers)
        answers: queue.SimpleQueue[_Answer | None] = queue.SimpleQueue()
        with self._lock:
            if self._gone:
                raise SandboxFault(self._gone)
            self._waiting[number] = answers
        try:
            self._send({"id": number, "do": do, **request}, payload)
            while True:
                header, data = self._next(answers, do, timeout_s)
                if "chunk" not in header:
                    break
                self._listen(number, header["chunk"], data, on_chunk)
        finally:
            self._waiting.pop(number, None)
        if "error" in header:
            if header["error"] == "Busy":
                raise PoolBusy(header["message"])
            raise _ERRORS.get(header["error"], SandboxFault)(header["message"])
        return header, data

    def tell_dropped(self) -> None:
        """Let the pool forget snapshots that were collected meanwhile."""
        taken: list[int] = []
        while self.dropped:
            taken.append(self.dropped.pop())
        if taken:
            self.ask("drop", {"snapshots": taken})

    def share(self) -> Link:
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
        self._held.close()

    def _listen(self, number: int, stream: str, data: bytes, on_chunk: Callable[[str, bytes], None] | None) -> None:
        try:
            if on_chunk is not None:
                on_chunk(stream, data)
        except BaseException:
            with contextlib.suppress(SandboxFault):  # then the run has ended with the connection
                self._send({"do": "cancel", "of": number})
            raise
        self._send({"do": "taken", "of": number})

    def _next(self, answers: queue.SimpleQueue[_Answer | None], do: str, timeout_s: float) -> _Answer:
        try:
            answer = answers.get(timeout=timeout_s)
        except queue.Empty:
            raise SandboxFault(f"the pool at {self._url} did not answer `{do}` in {timeout_s:g} s") from None
        if answer is None:
            raise SandboxFault(self._gone)
        return answer

    def _send(self, header: dict[str, Any], payload: bytes = b"") -> None:
        from websockets.exceptions import WebSocketException

        try:
            self._connection.send(pack_message(header, payload))
        except (OSError, WebSocketException) as error:
            raise SandboxFault(self._gone or f"the worker of the pool at {self._url} is gone: {error}") from error

    def _receive(self) -> None:
        try:
            while True:
                header, payload = unpack_message(self._connection.recv())
                waiting = self._waiting.get(header.get("id", 0))
                if waiting is not None:
                    waiting.put((header, payload))
        except Exception as error:  # whatever ends this connection ends every request on it
            with self._lock:
                self._gone = (
                    self._gone or f"the worker of the pool at {self._url} that held this sandbox is gone: {error}"
                )
                waiting_now = list(self._waiting.values())
            for each in waiting_now:
                each.put(None)


def _tls(url: str, ca: str) -> Any:
    if not url.startswith("wss:"):
        return None
    import ssl

    return ssl.create_default_context(cafile=ca or None)
