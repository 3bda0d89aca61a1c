"""A twobrain.toml with MCP servers for a test, and what those servers wrote."""

import json
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from base.settings import Settings, load_settings
from tests.tools.processes import is_running, stays
from tools.clock import get_time
from tools.declaration import Here, Tool
from tools.mcp.servers import Servers
from tools.registry import Registry
from tools.run import Ran, run_tool

PATIENCE_S = 60  # a busy machine takes its time to start a program
SERVER = Path(__file__).with_name("mcp_server.py")
PLAIN = [sys.executable, "-ISu", str(Path(__file__).with_name("plain_server.py"))]
BEHAVES = {"die", "environment", "fail", "flood", "folder", "gallery", "hang", "nothing", "renew", "secret"}
"""What only the server of the official package does."""
WORDS = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
BASE = Registry([get_time])


def definition(name: str, schema: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {"name": name, "description": f"Do {name}.", "inputSchema": schema or {"type": "object"}, **more}


class Household:
    """A twobrain.toml with MCP servers, and what those wrote."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.toml = ""

    def add(self, name: str, *tools: dict[str, Any], toml: str = "", **card: Any) -> Path:
        """Add a server over pipes, or over what the card says; return its folder."""
        home = self.folder / name
        home.mkdir(exist_ok=True)
        self.define(name, *tools)
        official = BEHAVES & {each.get("name") for each in tools}
        command, *args = [sys.executable, str(SERVER)] if official else PLAIN
        own = {} if {"url", "command"} & card.keys() else {"command": command, "args": [*args, str(home)]}
        way = {"connect_timeout_s": PATIENCE_S, **own, **card}
        lines = [f"{key} = {json.dumps(value)}" for key, value in way.items() if not isinstance(value, dict)]
        lines += [
            f"{k} = {{ {', '.join(f'{a} = {json.dumps(b)}' for a, b in v.items())} }}"
            for k, v in way.items()
            if isinstance(v, dict)
        ]
        self.toml += f"[mcp.servers.{name}]\n" + "\n".join(lines) + f"\n{toml}\n"
        return home

    def define(self, name: str, *tools: dict[str, Any]) -> None:
        (self.folder / name / "tools.json").write_text(json.dumps(tools))

    def settings(self, **environ: str) -> Settings:
        path = self.folder / "twobrain.toml"
        path.write_text(self.toml)
        return load_settings(
            {"TWOBRAIN_CONFIG": str(path), "TWOBRAIN_DATA_DIR": str(self.folder / "data"), **environ}
        )

    @asynccontextmanager
    async def open(self, **environ: str) -> AsyncIterator["Open"]:
        settings = self.settings(**environ)
        servers = Servers(settings)
        try:
            yield Open(settings, servers)
        finally:
            await servers.close()


class Open:
    """The servers at work."""

    def __init__(self, settings: Settings, servers: Servers) -> None:
        self.settings = settings
        self.servers = servers

    async def registry(self, user: str = "ada") -> Registry:
        return await self.servers.join(BASE, user)

    async def tools(self, user: str = "ada") -> dict[str, Tool]:
        return {each.name: each for each in await self.registry(user) if each is not get_time}

    async def agree(self, name: str, user: str = "ada") -> None:
        """Agree to a tool as it is now."""
        found = (await self.tools(user))[name]
        await self.servers.approve_definition(name, found.definition, user)

    async def call(self, name: str, **args: Any) -> Ran:
        return await self.call_of((await self.tools())[name], **args)

    async def call_of(self, found: Tool, **args: Any) -> Ran:
        here = Here(self.settings, "ada", "user", "thread-1", "call-1", "key-1")
        return await run_tool(found, here, found.check(args))

    async def missing(self, name: str) -> str | None:
        return (await self.tools())[name].missing(self.settings)


@contextmanager
def over_http(home: Path, port: int = 0) -> Iterator[int]:
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", port))
        listening.listen()
        handle = listening.fileno()
        process = subprocess.Popen([sys.executable, SERVER, home, str(handle)], pass_fds=[handle])
        port = listening.getsockname()[1]
    try:
        yield port
    finally:
        process.kill()
        process.wait()


def lines(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.exists() else []


def running(home: Path) -> list[int]:
    """Return the server's processes, its children among them, that are still there."""
    return [pid for each in lines(home / "pids") if is_running(pid := int(each))]


def left_running(home: Path) -> list[int]:
    """Return those that should have ended and did not."""
    return [pid for each in lines(home / "pids") if stays(pid := int(each))]
