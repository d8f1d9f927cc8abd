"""The shop as pages in a browser, for a person to play: the same pages the html observation holds, and no scripts."""

from __future__ import annotations

import html
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import gymnasium
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse
from starlette.routing import Route

import agentrl
from agentrl_envs import serving
from agentrl_envs.webshop.pages import LONGEST_QUERY

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'",
    "Cache-Control": "no-store",
}
_STYLE = Path(__file__).with_name("page.css").read_text("utf-8")


def serve(world: Any, host: str = "127.0.0.1", port: int = 8017, ready: Callable[[str], None] | None = None) -> None:
    """Let people play `world` at http://host:port/ until interrupted; `ready` is told the address. Port 0: any free.

    Raises ConfigError for a world that is no WebShop or an address that cannot be had.
    """
    serving.serve(app(world), host, port, ready or (lambda _: None))


def app(world: Any) -> Starlette:
    """The pages behind `serve`."""
    shop = getattr(world, "unwrapped", world)
    if not hasattr(shop, "page"):
        raise agentrl.ConfigError(f"only the webshop opens in a browser, not {type(shop).__name__}")
    visit = _Visit(shop)
    routes = [Route("/", visit.show), Route("/step", visit.step, methods=["POST"])]
    return Starlette(routes=[*routes, Route("/new", visit.new, methods=["POST"])])


class _Visit:
    """One world, one player; requests take turns."""

    def __init__(self, world: Any) -> None:
        self._world, self._lock, self._steps = world, threading.Lock(), 0
        self._info: dict[str, Any] = {"invalid": ""}
        try:
            world.page()  # a task that has begun goes on
        except gymnasium.error.ResetNeeded:
            self._info = world.reset()[1]

    def show(self, _: Request) -> HTMLResponse:
        """The page now, with style, and a footer that counts steps and tells the score."""
        with self._lock:
            page, note = self._world.page(), self._info["invalid"]
            grade = self._info.get("grade", {})
        note = html.escape(note or " · ".join(f"{name} {value}" for name, value in grade.items()))
        footer = (
            f'<footer><p id="steps">Steps: {self._steps}</p><p id="note">{note}'
            '</p><form method="post" action="/new"><button id="new">New task</button></form></footer>'
        )
        page = page.replace("</head>", f"<style>{_STYLE}</style></head>").replace("</body>", f"{footer}\n</body>")
        return HTMLResponse(page.encode("utf-8", "replace"), headers=_HEADERS)

    async def step(self, request: Request) -> RedirectResponse:
        """Run the action that a form stands for; Enter in the search box searches."""
        body = await serving.body(request, 8 * LONGEST_QUERY)
        form = parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True)
        action = form.get("action", ["search"])[0]
        if action == "search":
            action = f"search[{form.get('query', [''])[0].strip()}]"
        with self._lock:
            self._info = self._world.step(action)[-1]
            self._steps += 1
        return RedirectResponse("/", 303)

    def new(self, _: Request) -> RedirectResponse:
        """Another task."""
        with self._lock:
            self._info, self._steps = self._world.reset()[1], 0
        return RedirectResponse("/", 303)
