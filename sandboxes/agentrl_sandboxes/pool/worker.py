"""One process of a pool: holds sandboxes for clients, a connection for each family of them."""

from __future__ import annotations

import hmac
import json
import os
import queue
import signal
import socket
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from agentrl import (
    AgentRLError,
    ConfigError,
    Sandbox,
    SandboxFault,
    SandboxProvider,
    SandboxSession,
    SandboxSnapshot,
    SandboxSpec,
    Spec,
    default_host,
)
from agentrl_sandboxes.pool.messages import (
    LARGEST_MESSAGE,
    index_of,
    pack_message,
    read_command,
    split_files,
    unpack_message,
)
from agentrl_sandboxes.pool.slots import Busy, Places

_AT_ONCE = 64  # requests of one connection
_FIRST_WORD_S = 10.0


@dataclass(frozen=True)
class WorkerSettings:
    """What a worker is started with; crosses the process border as JSON on its standard input."""

    name: str
    settings: dict[str, Any]
    token: str
    places: int  # sandboxes at once, of all workers together
    places_file: str
    queue: int  # creations that may wait for a place, in this worker
    wait_s: float
    cert: str = ""
    key: str = ""


class Visit:
    """One connection, the sandboxes made on it, and what was asked of them. All of it ends with the connection."""

    def __init__(self, connection: Any, provider: SandboxProvider, places: Places) -> None:
        self._connection, self._provider, self._places = connection, provider, places
        self._sandboxes: dict[int, tuple[Sandbox, int]] = {}
        self._sessions: dict[int, tuple[int, SandboxSession]] = {}
        self._snapshots: dict[int, SandboxSnapshot] = {}
        self._listeners: dict[int, queue.SimpleQueue[bool]] = {}
        self._made = 0
        self._lock = threading.Lock()
        self._over = False

    def work(self) -> None:
        """Until the other side is gone."""
        from websockets.exceptions import ConnectionClosed

        abilities = sorted(self._provider.abilities - {"root"})  # a directory of this machine is nobody else's to name
        hello = {"name": self._provider.name, "abilities": abilities, "profiles": self._provider.profiles}
        try:
            self._connection.send(pack_message({"hello": {**hello, "worker": os.getpid()}}))
            with ThreadPoolExecutor(_AT_ONCE) as threads:
                try:
                    self._receive(threads)
                finally:
                    self._end()
        except (ConnectionClosed, TimeoutError):
            return

    def _receive(self, threads: ThreadPoolExecutor) -> None:
        patience: float | None = _FIRST_WORD_S
        while True:
            header, payload = unpack_message(self._connection.recv(timeout=patience))
            patience = None
            if header["do"] in ("taken", "cancel"):
                listener = self._listeners.get(header["of"])
                if listener is not None:
                    listener.put(header["do"] == "taken")
                continue
            threads.submit(self._serve, header, payload)

    def _serve(self, header: dict[str, Any], payload: bytes) -> None:
        from websockets.exceptions import ConnectionClosed

        number = header.get("id", 0)
        try:
            answer, data = _OPERATIONS[header["do"]](self, header, payload)
        except Busy as reason:
            answer, data = {"error": "Busy", "message": str(reason)}, b""
        except AgentRLError as error:
            answer, data = {"error": type(error).__name__, "message": str(error)}, b""
        except Exception as error:  # whatever a stranger's sandbox raises is this pool's fault, and is said
            answer, data = {"error": "SandboxFault", "message": f"{type(error).__name__}: {error}"}, b""
        try:
            self._connection.send(pack_message({"id": number, **answer}, data))
        except (ConnectionClosed, OSError):
            return

    def _end(self) -> None:
        with self._lock:
            self._over = True
            sandboxes = list(self._sandboxes)
        for listener in list(self._listeners.values()):
            listener.put(False)
        for number in sandboxes:
            self._close_one(number)

    def _keep(self, make: Any) -> int:
        place = self._places.take()
        try:
            sandbox = make()
        except BaseException:
            self._places.give_back(place)
            raise
        with self._lock:
            self._made += 1
            number = self._made
            self._sandboxes[number] = sandbox, place
            over = self._over
        if over:  # nobody is left to use it
            self._close_one(number)
        return number

    def _close_one(self, number: int) -> None:
        with self._lock:
            sandbox, place = self._sandboxes.pop(number, (None, -1))
            sessions = [each for each, (owner, _) in self._sessions.items() if owner == number]
            for each in sessions:
                del self._sessions[each]
        if sandbox is not None:
            try:
                sandbox.close()
            finally:
                self._places.give_back(place)

    def _sandbox(self, header: dict[str, Any]) -> Sandbox:
        with self._lock:
            found = self._sandboxes.get(header.get("sandbox", 0))
        if found is None:
            raise SandboxFault("this sandbox is closed")
        return found[0]

    def create(self, header: dict[str, Any], _: bytes) -> tuple[dict[str, Any], bytes]:
        spec = SandboxSpec.from_data(header["spec"])
        if spec.root:
            raise ConfigError("a pool gives no `root`: that would be a directory of the machine it runs on")
        return {"sandbox": self._keep(lambda: self._provider.create(spec))}, b""

    def fork(self, header: dict[str, Any], _: bytes) -> tuple[dict[str, Any], bytes]:
        return {"sandbox": self._keep(self._sandbox(header).fork)}, b""

    def run(self, header: dict[str, Any], payload: bytes) -> tuple[dict[str, Any], bytes]:
        sandbox, number = self._sandbox(header), header["id"]
        listen = self._listen(number) if header["listens"] else None
        try:
            return {"result": sandbox.run(read_command(header["command"], payload), on_output=listen).to_data()}, b""
        finally:
            self._listeners.pop(number, None)

    def _listen(self, number: int) -> Any:
        """Hands each piece on and waits until it was taken, so that a slow listener slows the program and no memory fills."""
        answers: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._listeners[number] = answers

        def hand_on(stream: str, data: bytes) -> None:
            self._connection.send(pack_message({"id": number, "chunk": stream}, bytes(data)))
            if self._over or not answers.get():
                raise SandboxFault("nobody listens any more")

        return hand_on

    def put(self, header: dict[str, Any], payload: bytes) -> tuple[dict[str, Any], bytes]:
        files = split_files(header["files"], payload)
        self._sandbox(header).put_tree(files, executable=header["executable"])
        return {}, b""

    def get(self, header: dict[str, Any], _: bytes) -> tuple[dict[str, Any], bytes]:
        max_mib = min(float(header["max_mib"]), LARGEST_MESSAGE / 2**21)
        tree = self._sandbox(header).get_tree(*header["paths"], max_mib=max_mib, max_files=int(header["max_files"]))
        return {"files": index_of(tree.files), "refused": dict(tree.refused)}, b"".join(tree.files.values())

    def snapshot(self, header: dict[str, Any], _: bytes) -> tuple[dict[str, Any], bytes]:
        taken = self._sandbox(header).snapshot()
        with self._lock:
            self._made += 1
            self._snapshots[self._made] = taken
            return {"snapshot": self._made}, b""

    def restore(self, header: dict[str, Any], _: bytes) -> tuple[dict[str, Any], bytes]:
        self._sandbox(header).restore(self._snapshots[header["snapshot"]])
        return {}, b""

    def drop(self, header: dict[str, Any], _: bytes) -> tuple[dict[str, Any], bytes]:
        for number in header["snapshots"]:
            self._snapshots.pop(number, None)
        return {}, b""

    def session(self, header: dict[str, Any], _: bytes) -> tuple[dict[str, Any], bytes]:
        made = self._sandbox(header).session(header["kind"], cwd=header["cwd"], env=header["env"])
        with self._lock:
            self._made += 1
            self._sessions[self._made] = header["sandbox"], made
            return {"session": self._made}, b""

    def call(self, header: dict[str, Any], payload: bytes) -> tuple[dict[str, Any], bytes]:
        with self._lock:
            found = self._sessions.get(header["session"])
        if found is None:
            raise SandboxFault("this session is closed")
        code = payload.decode("utf-8", "surrogateescape")
        return {"result": found[1].run(code, timeout_s=header["timeout_s"]).to_data()}, b""

    def end_session(self, header: dict[str, Any], _: bytes) -> tuple[dict[str, Any], bytes]:
        with self._lock:
            found = self._sessions.pop(header["session"], None)
        if found is not None:
            found[1].close()
        return {}, b""

    def reset(self, header: dict[str, Any], _: bytes) -> tuple[dict[str, Any], bytes]:
        self._sandbox(header).reset()
        return {}, b""

    def grade(self, header: dict[str, Any], _: bytes) -> tuple[dict[str, Any], bytes]:
        return {"grade": self._sandbox(header).grade()}, b""

    def close(self, header: dict[str, Any], _: bytes) -> tuple[dict[str, Any], bytes]:
        self._close_one(header["sandbox"])
        return {}, b""


_OPERATIONS: dict[str, Any] = {
    "create": Visit.create, "fork": Visit.fork, "run": Visit.run, "put": Visit.put, "get": Visit.get,
    "snapshot": Visit.snapshot, "restore": Visit.restore, "drop": Visit.drop, "session": Visit.session,
    "call": Visit.call, "end_session": Visit.end_session, "reset": Visit.reset, "grade": Visit.grade,
    "close": Visit.close,
}  # fmt: skip


def work(settings: WorkerSettings, listener: socket.socket) -> None:
    """Serve until the standard input ends: that is when the process that started this one is gone."""
    from websockets.sync.server import serve

    provider: Any = default_host().build(Spec("sandbox", settings.name, settings.settings))
    places = Places(settings.places_file, settings.places, settings.queue, settings.wait_s)

    def check(connection: Any, request: Any) -> Any:
        given = request.headers.get("Authorization", "")
        if hmac.compare_digest(given.encode(), f"Bearer {settings.token}".encode()):
            return None
        return connection.respond(HTTPStatus.UNAUTHORIZED, "this pool needs its token\n")

    with serve(
        lambda connection: Visit(connection, provider, places).work(), sock=listener, process_request=check,
        ssl=_tls(settings), max_size=LARGEST_MESSAGE, compression=None, ping_timeout=60, close_timeout=2,
    ) as server:  # fmt: skip
        threading.Thread(target=server.serve_forever, daemon=True).start()
        sys.stdout.write("ready\n")  # this is how its parent knows
        sys.stdout.flush()
        sys.stdin.buffer.read()
        provider.close()
        os._exit(0)  # a connection that does not end is not waited for


def _tls(settings: WorkerSettings) -> Any:
    if not settings.cert:
        return None
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(settings.cert, settings.key or None)
    return context


def main() -> None:
    """Entry of a worker process: settings on the first line of standard input, the listening socket as argument."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # its parent decides
    settings = WorkerSettings(**json.loads(sys.stdin.buffer.readline()))
    work(settings, socket.socket(fileno=int(sys.argv[1])))


if __name__ == "__main__":
    main()
