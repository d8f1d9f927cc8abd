"""A connection to one MCP server: the official asynchronous client in a thread of its own, behind plain calls."""

from __future__ import annotations

import asyncio
import contextlib
import json
import tempfile
import threading
from collections.abc import Coroutine, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any

from agentrl import ConfigError, EnvironmentFault, ToolError, how_to_install

_LEAVING_S = 15.0  # the client gives a server a few seconds to leave, then ends it


class Connection:
    """Starts (or reaches) a server and stays connected until `close`.

    `tools` are those that the server offers now. Raises EnvironmentFault where the server does not start in
    `start_timeout_s`, goes away or is silent for `timeout_s`.
    """

    def __init__(self, command: Sequence[str], url: str, timeout_s: float, start_timeout_s: float) -> None:
        try:
            import mcp
        except ImportError:
            raise ConfigError(f"environment 'mcp' needs the official client. {how_to_install('mcp')}") from None
        self._timeout_s = timeout_s
        self._lost: EnvironmentFault | None = None
        self._changed = False  # the server said that its tools did
        self._where = url or " ".join(command)
        self._stderr = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        transport: Any = url
        if not url:
            started = mcp.StdioServerParameters(command=command[0], args=list(command[1:]))
            transport = mcp.stdio_client(started, errlog=self._stderr)
        self._loop = asyncio.new_event_loop()
        self._main = self._loop.create_task(self._stay(transport))
        self._ready: Future[Any] = Future()
        self._thread = threading.Thread(target=self._run, daemon=True, name="mcp client")
        self._thread.start()
        try:
            self._client = self._ready.result(start_timeout_s)
            self.tools = self._wait(self._list())
        except BaseException as error:
            self.close()
            if isinstance(error, Exception) and not isinstance(error, EnvironmentFault):
                raise self._fault(f"did not start: {type(error).__name__} {error}".strip()) from error
            raise

    @property
    def alive(self) -> bool:
        """Whether the server was there when it was last heard of."""
        return self._lost is None and self._thread.is_alive()

    def call(self, name: str, arguments: Mapping[str, object]) -> str:
        """What a tool answers, as text. Raises ToolError with what the server says is wrong."""
        result = self._wait(self._client.call_tool(name, dict(arguments)))
        tools = self._client.server_capabilities.tools
        if self._changed or (tools is not None and tools.list_changed):
            # Asked after every call, where tools may change: news of it may come late, and the next turn must not
            # depend on when.
            self._changed, self.tools = False, self._wait(self._list())
        text = "\n".join(_written(block) for block in result.content)
        if result.is_error:
            raise ToolError(text or f"tool {name!r} failed")
        return text

    def close(self) -> None:
        """Disconnect, and end the server if it was started here. Safe twice."""
        with contextlib.suppress(RuntimeError):  # the loop may end on its own between the question and the call
            self._loop.call_soon_threadsafe(self._main.cancel)
        self._thread.join(_LEAVING_S)
        self._stderr.close()

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._main)
        except (Exception, asyncio.CancelledError) as error:  # whatever a transport raises, connected or not
            if not self._ready.done():
                self._ready.set_exception(error)
        finally:
            self._loop.close()

    async def _stay(self, transport: Any) -> None:
        """The client is entered and left in one task, as its cancel scopes want it."""
        import mcp

        async def hear(message: object) -> None:
            self._changed |= getattr(message, "method", "") == "notifications/tools/list_changed"

        async with mcp.Client(
            transport, read_timeout_seconds=self._timeout_s, message_handler=hear, cache=None
        ) as client:
            self._ready.set_result(client)
            await asyncio.get_running_loop().create_future()  # until `close` cancels this task

    async def _list(self) -> list[Any]:
        page = await self._client.list_tools()
        tools = list(page.tools)
        while page.next_cursor is not None:
            page = await self._client.list_tools(cursor=page.next_cursor)
            tools += page.tools
        return tools

    def _wait(self, coroutine: Coroutine[object, object, Any]) -> Any:
        import mcp
        from mcp.types import CONNECTION_CLOSED, REQUEST_TIMEOUT

        if self._loop.is_closed():
            coroutine.close()
            raise self._fault("is gone")
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result(self._timeout_s + 1)
        except mcp.MCPError as error:
            if error.code in (CONNECTION_CLOSED, REQUEST_TIMEOUT):
                raise self._fault(str(error)) from error
            raise ToolError(str(error)) from None
        except FutureTimeout:
            future.cancel()
            raise self._fault(f"was silent for {self._timeout_s} s") from None

    def _fault(self, what: str) -> EnvironmentFault:
        said = ""
        if not self._stderr.closed:
            self._stderr.seek(0)
            said = self._stderr.read()[-400:].strip()
        self._lost = EnvironmentFault(
            f"the MCP server {self._where!r} {what}" + (f". It wrote: {said}" if said else "")
        )
        return self._lost


def _written(block: Any) -> str:
    """Text as it is; anything else as JSON, long data only by its length."""
    if block.type == "text":
        return str(block.text)
    plain = block.model_dump(mode="json", exclude_none=True)
    if isinstance(plain.get("data"), str):
        plain["data"] = f"{len(plain['data'])} characters of base64"
    return json.dumps(plain, ensure_ascii=False)
