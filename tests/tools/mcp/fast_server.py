"""An MCP server built with FastMCP, over pipes: `fast_server.py FOLDER`, where it writes what it does."""

import os
import sys
from pathlib import Path
from typing import Any

from mcp.server.fastmcp import Context, FastMCP

FOLDER = Path(sys.argv[1])
server = FastMCP("fast")


def note(file: str, text: str) -> None:
    with (FOLDER / file).open("a") as lines:
        lines.write(f"{text}\n")


def vault() -> str:
    """Look into the vault."""
    note("called", "vault {}")
    return "vault: {}"


@server.tool()
async def unlock(context: Context) -> str:  # type: ignore[type-arg] (FastMCP's own annotation)
    """Open the vault."""
    note("called", "unlock {}")
    server.add_tool(vault)
    await context.session.send_tool_list_changed()
    return "unlock: {}"


@server.tool()
def names() -> list[str]:
    """Name the things in the vault."""
    return ["gold", 'a "quoted" größe\n']


@server.tool()
def record() -> dict[str, Any]:
    """Tell of one thing in the vault."""
    return {"name": "größe", "weight": 2.5, "inside": [{"name": "coin", "count": 3}]}


if __name__ == "__main__":
    note("pids", str(os.getpid()))
    server.run()
