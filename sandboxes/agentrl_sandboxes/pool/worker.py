"""One process of a pool: serves clients that the kernel hands it from the shared address."""

from __future__ import annotations

import hmac
import json
import os
import signal
import socket
import ssl
import sys
import threading
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from agentrl import SandboxProvider, Spec, default_host
from agentrl_sandboxes.pool.client import Client
from agentrl_sandboxes.pool.messages import LARGEST_MESSAGE
from agentrl_sandboxes.pool.permits import Permits

if TYPE_CHECKING:
    from websockets.http11 import Request, Response  # an extra
    from websockets.sync.server import ServerConnection


@dataclass(frozen=True)
class WorkerSettings:
    """What a worker is started with; crosses the process border as JSON on its standard input."""

    name: str  # of the sandbox that is offered, and its settings
    settings: dict[str, object]
    token: str
    sandboxes: int  # at once, of all workers together
    permits_folder: str
    queue: int  # creations that may wait in this worker
    wait_s: float
    cert: str = ""
    key: str = ""


def main() -> None:
    """Entry of a worker process: settings on the first line of standard input, the listening socket as argument."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # its parent decides
    settings = WorkerSettings(**json.loads(sys.stdin.buffer.readline()))
    serve_clients(settings, socket.socket(fileno=int(sys.argv[1])))


def serve_clients(settings: WorkerSettings, listener: socket.socket) -> None:
    """Serve until the standard input ends: that is when the process that started this one is gone."""
    from websockets.sync.server import serve

    provider: SandboxProvider = default_host().build(Spec("sandbox", settings.name, settings.settings))
    permits = Permits(settings.permits_folder, settings.sandboxes, settings.queue, settings.wait_s)

    def check_token(connection: ServerConnection, request: Request) -> Response | None:
        header = request.headers.get("Authorization", "")
        if hmac.compare_digest(header.encode(), f"Bearer {settings.token}".encode()):
            return None
        return connection.respond(HTTPStatus.UNAUTHORIZED, "this pool needs its token\n")

    with serve(
        lambda connection: Client(connection, provider, permits).serve(), sock=listener, process_request=check_token,
        ssl=_tls(settings), max_size=LARGEST_MESSAGE, compression=None, ping_timeout=60, close_timeout=2,
    ) as server:  # fmt: skip
        threading.Thread(target=server.serve_forever, daemon=True).start()
        sys.stdout.write("ready\n")  # this is how its parent knows
        sys.stdout.flush()
        sys.stdin.buffer.read()
        provider.close()
        os._exit(0)  # a connection that does not end is not waited for


def _tls(settings: WorkerSettings) -> ssl.SSLContext | None:
    if not settings.cert:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(settings.cert, settings.key or None)
    return context


if __name__ == "__main__":
    main()
