"""An MCP server built with the official package: `mcp_server.py FOLDER [SOCKET]`, over pipes or HTTP.

It offers what FOLDER/tools.json defines, and acts by a tool's name. What it does, it writes to FOLDER,
so that a test can count it from outside.
"""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import uvicorn
from mcp import types
from mcp.server.lowlevel import NotificationOptions, Server
from mcp.server.stdio import stdio_server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from starlette.applications import Starlette
from starlette.routing import Mount

FOLDER = Path(sys.argv[1])
PIXEL = "iVBORw0KGgo="
UNLOCKED: list[dict[str, Any]] = []
"""Tools that this session has opened up."""
server: Server[Any] = Server("ours")


def note(file: str, text: str) -> None:
    with (FOLDER / file).open("a") as lines:
        lines.write(f"{text}\n")


@server.list_tools()
async def list_tools() -> list[types.Tool]:
    note("listed", str(os.getpid()))
    if (FOLDER / "never_list").exists():
        await asyncio.Event().wait()
    note("sessions", str(id(server.request_context.session)))
    listed = json.loads((FOLDER / "tools.json").read_text()) + UNLOCKED
    return [types.Tool.model_validate(each) for each in listed]


@server.call_tool(validate_input=False)
async def call_tool(name: str, args: dict[str, Any]) -> list[types.ContentBlock]:
    note("called", f"{name} {json.dumps(args)}")
    if name == "hang":
        await asyncio.Event().wait()
    if name == "renew":
        await renew()
    if name == "unlock":
        UNLOCKED.append({"name": "vault", "inputSchema": {"type": "object"}})
        await server.request_context.session.send_tool_list_changed()
    answer = ANSWERS[name](args) if name in ANSWERS else f"{name}: {json.dumps(args)}"
    return [types.TextContent(type="text", text=answer)] if isinstance(answer, str) else answer


def fail() -> str:
    raise ValueError("the shelf is empty")


async def renew() -> None:
    tools = json.loads((FOLDER / "tools.json").read_text())
    tools[0]["description"] = "Something else by now."
    (FOLDER / "tools.json").write_text(json.dumps(tools))
    await server.request_context.session.send_tool_list_changed()


def gallery() -> list[types.ContentBlock]:
    text = types.TextResourceContents(uri="notes://1", mimeType="text/plain", text="milk")
    blob = types.BlobResourceContents(uri="notes://2", mimeType="image/png", blob=PIXEL)
    return [
        types.TextContent(type="text", text="Here:"),
        types.ImageContent(type="image", data=PIXEL, mimeType="image/png"),
        types.AudioContent(type="audio", data=PIXEL, mimeType="audio/wav"),
        types.EmbeddedResource(type="resource", resource=text),
        types.EmbeddedResource(type="resource", resource=blob),
        types.ResourceLink(type="resource_link", name="list", uri="notes://3"),
    ]


ANSWERS = {
    "fail": lambda _: fail(),
    "die": lambda _: os.kill(os.getpid(), signal.SIGKILL),
    "environment": lambda _: json.dumps(dict(os.environ)),
    "folder": lambda _: str(Path.cwd()),
    "secret": lambda _: f"you sent {server.request_context.request.headers['authorization']}",
    "flood": lambda args: "x" * args["size"],
    "gallery": lambda _: gallery(),
    "nothing": lambda _: [],
}


async def over_pipes() -> None:
    sys.stderr.write("ready\n")
    sys.stdout.write("a banner that is no message\n")
    sys.stdout.flush()
    options = server.create_initialization_options(NotificationOptions(tools_changed=True))
    async with stdio_server() as (incoming, outgoing):
        await server.run(incoming, outgoing, options)


def over_http(listening: socket.socket) -> None:
    manager = StreamableHTTPSessionManager(server)

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        async with manager.run():
            yield

    app = Starlette(routes=[Mount("/mcp", app=manager.handle_request)], lifespan=lifespan)
    uvicorn.Server(uvicorn.Config(app, log_level=100, timeout_graceful_shutdown=0)).run([listening])


if __name__ == "__main__":
    note("pids", str(os.getpid()))
    if (FOLDER / "child").exists():
        child = subprocess.Popen(["sleep", "600"])  # outlives its parent unless somebody ends the group
        note("pids", str(child.pid))
    if (FOLDER / "stubborn").exists():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            signal.pause()
    if len(sys.argv) > 2:
        over_http(socket.socket(fileno=int(sys.argv[2])))
    else:
        asyncio.run(over_pipes())
