"""One client of a pool, as its worker sees it: a connection, the sandboxes made on it, and what is asked of them."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from agentrl import (
    AgentRLError,
    ConfigError,
    Output,
    Sandbox,
    SandboxFault,
    SandboxProvider,
    SandboxSession,
    SandboxSnapshot,
    SandboxSpec,
)
from agentrl_sandboxes.pool.messages import (
    LARGEST_MESSAGE,
    Handshake,
    PoolAnswer,
    PoolRequest,
    index_of,
    pack_message,
    read_command,
    split_files,
    unpack_message,
)
from agentrl_sandboxes.pool.permits import Busy, Permits

if TYPE_CHECKING:
    from websockets.sync.server import ServerConnection  # an extra

_AT_ONCE = 64  # requests of one connection
_FIRST_REQUEST_S = 10.0
_Reply = tuple[PoolAnswer, bytes]


class Client:
    """Everything here ends with the connection."""

    def __init__(self, connection: ServerConnection, provider: SandboxProvider, permits: Permits) -> None:
        self._connection, self._provider, self._permits = connection, provider, permits
        self._sandboxes: dict[int, tuple[Sandbox, int]] = {}  # with the permit of each
        self._sessions: dict[int, tuple[int, SandboxSession]] = {}  # with the number of their sandbox
        self._snapshots: dict[int, SandboxSnapshot] = {}
        self._acks: dict[int, queue.SimpleQueue[bool]] = {}  # of runs whose output somebody listens to
        self._last_number = 0
        self._lock = threading.Lock()
        self._over = False

    def serve(self) -> None:
        """Until the other side is gone."""
        from websockets.exceptions import ConnectionClosed

        abilities = sorted(self._provider.abilities - {"root"})  # a directory of this machine is nobody else's to name
        handshake: Handshake = {
            "name": self._provider.name, "abilities": abilities, "profiles": list(self._provider.profiles),
            "worker": os.getpid(),
        }  # fmt: skip
        try:
            self._send({"handshake": handshake})
            with ThreadPoolExecutor(_AT_ONCE) as threads:
                try:
                    self._receive(threads)
                finally:
                    self._end()
        except (ConnectionClosed, TimeoutError):
            return

    def _receive(self, threads: ThreadPoolExecutor) -> None:
        patience_s: float | None = _FIRST_REQUEST_S
        while True:
            request, payload = unpack_message(self._connection.recv(timeout=patience_s))
            patience_s = None
            if request["do"] in ("ack", "cancel"):
                acks = self._acks.get(request["of"])
                if acks is not None:
                    acks.put(request["do"] == "ack")
                continue
            threads.submit(self._answer, request, payload)

    def _answer(self, request: PoolRequest, payload: bytes) -> None:
        from websockets.exceptions import ConnectionClosed

        try:
            answer, data = _OPERATIONS[request["do"]](self, request, payload)
        except Busy as reason:
            answer, data = {"error": "Busy", "message": str(reason)}, b""
        except AgentRLError as error:
            answer, data = {"error": type(error).__name__, "message": str(error)}, b""
        except Exception as error:  # whatever a stranger's sandbox raises is this pool's fault, and is said
            answer, data = {"error": "SandboxFault", "message": f"{type(error).__name__}: {error}"}, b""
        try:
            self._send({**answer, "id": request.get("id", 0)}, data)
        except (ConnectionClosed, OSError):
            return

    def _send(self, answer: PoolAnswer, data: bytes = b"") -> None:
        self._connection.send(pack_message(answer, data))

    def _end(self) -> None:
        with self._lock:
            self._over = True
            sandboxes = list(self._sandboxes)
        for acks in list(self._acks.values()):
            acks.put(False)
        for number in sandboxes:
            self._close_one(number)

    def _keep(self, make: Callable[[], Sandbox]) -> int:
        """Make a sandbox in a permit; its number."""
        permit = self._permits.take()
        try:
            sandbox = make()
        except BaseException:
            self._permits.give_back(permit)
            raise
        with self._lock:
            number = self._next_number()
            self._sandboxes[number] = sandbox, permit
            over = self._over
        if over:  # nobody is left to use it
            self._close_one(number)
        return number

    def _next_number(self) -> int:
        """Called with the lock held."""
        self._last_number += 1
        return self._last_number

    def _close_one(self, number: int) -> None:
        with self._lock:
            sandbox, permit = self._sandboxes.pop(number, (None, -1))
            for session in [session for session, (owner, _) in self._sessions.items() if owner == number]:
                del self._sessions[session]
        if sandbox is not None:
            try:
                sandbox.close()
            finally:
                self._permits.give_back(permit)

    def _sandbox(self, request: PoolRequest) -> Sandbox:
        with self._lock:
            entry = self._sandboxes.get(request.get("sandbox", 0))
        if entry is None:
            raise SandboxFault("this sandbox is closed")
        return entry[0]

    def _create(self, request: PoolRequest, _: bytes) -> _Reply:
        spec = SandboxSpec.from_data(request["spec"])
        if spec.root:
            raise ConfigError("a pool gives no `root`: that would be a directory of the machine it runs on")
        return {"sandbox": self._keep(lambda: self._provider.create(spec))}, b""

    def _fork(self, request: PoolRequest, _: bytes) -> _Reply:
        return {"sandbox": self._keep(self._sandbox(request).fork)}, b""

    def _run(self, request: PoolRequest, payload: bytes) -> _Reply:
        sandbox, number = self._sandbox(request), request["id"]
        on_output = self._listener(number) if request["listens"] else None
        try:
            result = sandbox.run(read_command(request["command"], payload), on_output=on_output)
            return {"result": result.to_data()}, b""
        finally:
            self._acks.pop(number, None)

    def _listener(self, number: int) -> Output:
        """Hands each piece on and waits until it was taken, so that a slow client slows the program and no memory fills."""
        acks: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._acks[number] = acks

        def hand_on(stream: str, data: bytes) -> None:
            self._send({"id": number, "chunk": "stdout" if stream == "stdout" else "stderr"}, bytes(data))
            if self._over or not acks.get():
                raise SandboxFault("nobody listens any more")

        return hand_on

    def _put(self, request: PoolRequest, payload: bytes) -> _Reply:
        files = split_files(request["files"], payload)
        self._sandbox(request).put_tree(files, executable=request["executable"])
        return {}, b""

    def _get(self, request: PoolRequest, _: bytes) -> _Reply:
        max_mib = min(float(request["max_mib"]), LARGEST_MESSAGE / 2**21)
        tree = self._sandbox(request).get_tree(*request["paths"], max_mib=max_mib, max_files=int(request["max_files"]))
        return {"files": index_of(tree.files), "refused": dict(tree.refused)}, b"".join(tree.files.values())

    def _snapshot(self, request: PoolRequest, _: bytes) -> _Reply:
        snapshot = self._sandbox(request).snapshot()
        with self._lock:
            number = self._next_number()
            self._snapshots[number] = snapshot
        return {"snapshot": number}, b""

    def _restore(self, request: PoolRequest, _: bytes) -> _Reply:
        self._sandbox(request).restore(self._snapshots[request["snapshot"]])
        return {}, b""

    def _drop(self, request: PoolRequest, _: bytes) -> _Reply:
        for number in request["snapshots"]:
            self._snapshots.pop(number, None)
        return {}, b""

    def _session(self, request: PoolRequest, _: bytes) -> _Reply:
        session = self._sandbox(request).session(request["kind"], cwd=request["cwd"], env=request["env"])
        with self._lock:
            number = self._next_number()
            self._sessions[number] = request["sandbox"], session
        return {"session": number}, b""

    def _call(self, request: PoolRequest, payload: bytes) -> _Reply:
        with self._lock:
            entry = self._sessions.get(request["session"])
        if entry is None:
            raise SandboxFault("this session is closed")
        code = payload.decode("utf-8", "surrogateescape")
        return {"result": entry[1].run(code, timeout_s=request["timeout_s"]).to_data()}, b""

    def _end_session(self, request: PoolRequest, _: bytes) -> _Reply:
        with self._lock:
            entry = self._sessions.pop(request["session"], None)
        if entry is not None:
            entry[1].close()
        return {}, b""

    def _reset(self, request: PoolRequest, _: bytes) -> _Reply:
        self._sandbox(request).reset()
        return {}, b""

    def _grade(self, request: PoolRequest, _: bytes) -> _Reply:
        return {"grade": self._sandbox(request).grade()}, b""

    def _close(self, request: PoolRequest, _: bytes) -> _Reply:
        self._close_one(request["sandbox"])
        return {}, b""


_OPERATIONS: dict[str, Callable[[Client, PoolRequest, bytes], _Reply]] = {
    "create": Client._create, "fork": Client._fork, "run": Client._run, "put": Client._put, "get": Client._get,
    "snapshot": Client._snapshot, "restore": Client._restore, "drop": Client._drop, "session": Client._session,
    "call": Client._call, "end_session": Client._end_session, "reset": Client._reset, "grade": Client._grade,
    "close": Client._close,
}  # fmt: skip
