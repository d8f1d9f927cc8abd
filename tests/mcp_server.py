"""A small MCP server for tests: a ledger, and tools that misbehave."""

import os
import sys
import time
from typing import Annotated

from mcp.server.mcpserver import Context, Image, MCPServer
from pydantic import Field

server = MCPServer("ledger")
entries = {}


@server.tool()
def add(name: str, amount: Annotated[int, Field(ge=1)]) -> str:
    """Write an amount under a name."""
    entries[name] = entries.get(name, 0) + amount
    return f"{name}: {entries[name]}"


@server.tool()
def total() -> str:
    """The sum of all amounts."""
    return str(sum(entries.values()))


@server.tool()
def clear() -> str:
    """Forget everything."""
    entries.clear()
    return "empty"


@server.tool()
def picture() -> Image:
    """A picture."""
    return Image(data=b"x" * 300, format="png")


@server.tool()
def die() -> str:
    """Ends the process."""
    os._exit(3)


@server.tool()
def sleep() -> str:
    """Answers too late."""
    time.sleep(30)
    return "late"


@server.tool()
async def learn(name: str, ctx: Context) -> str:
    """Makes a new tool."""
    if name == "unlearn":
        server.remove_tool("sleep")
    else:
        server.add_tool(lambda: f"{name} was called", name=name, description="Learned.")
    await ctx.session.send_tool_list_changed()
    await ctx.notify_tools_changed()
    return "done"


if __name__ == "__main__":
    if len(sys.argv) > 1:
        server.run("streamable-http", port=int(sys.argv[1]))
    server.run()
