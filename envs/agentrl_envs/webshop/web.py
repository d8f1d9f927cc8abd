"""The shop as pages in a browser, for a person to play: the same pages the html observation holds, and no scripts."""

from __future__ import annotations

import html
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast
from urllib.parse import parse_qs

import gymnasium

import agentrl
from agentrl_envs.webshop.world import LONGEST_QUERY, WebShop

_LONGEST_FORM = 8 * LONGEST_QUERY
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
p { margin: .3rem 0 } h2 { margin: 1rem 0 .5rem } input { font: inherit; width: 70%; padding: .4rem }
button { font: inherit; margin: .15rem; padding: .3rem .8rem; border: 1px solid #bbb; border-radius: .4rem;
  background: #f4f4f4; cursor: pointer }
button.product-link { display: block; margin-top: 1rem; border: 0; background: none; color: #0645ad; padding: 0 }
button[aria-pressed=true] { background: #0645ad; color: white }
footer { margin-top: 2rem; border-top: 1px solid #ddd; padding-top: .5rem; color: #666 }
"""


def serve(world: Any, host: str = "127.0.0.1", port: int = 8017, ready: Callable[[str], None] | None = None) -> None:
    """Let people play `world` at http://host:port/ until interrupted; `ready` is told the address. Port 0: any free.

    Raises ConfigError for a world that is no WebShop or an address that cannot be had.
    """
    with server(world, host, port) as running:
        if ready is not None:
            ready(f"http://{host}:{running.server_address[1]}/")
        try:
            running.serve_forever()
        except KeyboardInterrupt:
            return


def server(world: Any, host: str = "127.0.0.1", port: int = 0) -> ShopServer:
    """The server behind `serve`, bound and not yet running."""
    shop = getattr(world, "unwrapped", world)
    if not isinstance(shop, WebShop):
        raise agentrl.ConfigError(f"only the webshop opens in a browser, not {type(shop).__name__}")
    try:
        return ShopServer(shop, host, port)
    except (OSError, OverflowError) as error:
        raise agentrl.ConfigError(
            f"cannot serve at {host}:{port}: {error}. Choose another port; 0 takes any."
        ) from None


class ShopServer(ThreadingHTTPServer):
    """One world, one player; requests take turns."""

    daemon_threads = True

    def __init__(self, world: WebShop, host: str, port: int) -> None:
        super().__init__((host, port), _Handler)
        self._world = world
        self._lock = threading.Lock()
        self._steps = 0
        self._info: dict[str, Any] = {"invalid": ""}
        try:
            world.page()  # a task that has begun goes on
        except gymnasium.error.ResetNeeded:
            self._begin()

    def page(self) -> str:
        """The page now, with style, and a footer that counts steps and tells the score."""
        with self._lock:
            page = self._world.page()
            grade = self._info.get("grade")
        details = "" if grade is None else " · ".join(f"{name} {value}" for name, value in grade.items())
        footer = (
            f'<footer><p id="steps">Steps: {self._steps}</p><p id="note">{html.escape(self._info["invalid"] or details)}'
            '</p><form method="post" action="/new"><button id="new">New task</button></form></footer>'
        )
        return page.replace("</head>", f"<style>{_STYLE}</style></head>").replace("</body>", f"{footer}\n</body>")

    def act(self, form: dict[str, list[str]]) -> None:
        """Run the action that a form stands for; Enter in the search box searches."""
        action = form.get("action", ["search"])[0]
        if action == "search":
            action = f"search[{form.get('query', [''])[0].strip()}]"
        with self._lock:
            self._info = self._world.step(action)[-1]
            self._steps += 1

    def begin(self) -> None:
        """Another task."""
        with self._lock:
            self._begin()

    def _begin(self) -> None:
        self._info = self._world.reset()[1]
        self._steps = 0


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path != "/":
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        body = self._shop.page().encode("utf-8", "replace")
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'")
        self.send_header("Cache-Control", "no-store")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > _LONGEST_FORM:
            self.close_connection = True
            self.send_error(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            return
        form = parse_qs(self.rfile.read(int(length)).decode("utf-8", "replace"), keep_blank_values=True)
        if self.path == "/step":
            self._shop.act(form)
        elif self.path == "/new":
            self._shop.begin()
        else:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        self.send_response(HTTPStatus.SEE_OTHER)
        self.send_header("Location", "/")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Stay quiet."""

    @property
    def _shop(self) -> ShopServer:
        return cast(ShopServer, self.server)
