"""Pages and answers of a world over HTTP: what its servers share, on Starlette and uvicorn."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request

import agentrl


def serve(app: Starlette, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Serve until interrupted; `ready` is told the address, which answers from then on. Port 0: any that is free.

    Raises ConfigError for an address that cannot be had.
    """
    try:
        bound = socket.create_server((host, port))
    except (OSError, OverflowError) as error:
        raise agentrl.ConfigError(
            f"cannot serve at {host}:{port}: {error}. Choose another port; 0 takes any."
        ) from None
    bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # or else each answer waits 40 ms for a receipt
    with bound, contextlib.suppress(KeyboardInterrupt):
        ready(f"http://{host}:{bound.getsockname()[1]}/")
        uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False)).run([bound])


async def body(request: Request, most: int) -> bytes:
    """The body of a request, refused (status 413) once it is longer than `most` bytes."""
    read = b""
    async for chunk in request.stream():
        read += chunk
        if len(read) > most:
            raise HTTPException(413, f"at most {most} bytes")
    return read
