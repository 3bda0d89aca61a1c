"""The configured MCP servers, and the registry with their tools.

What a server says of its tools only ever makes them ask more. What twobrain.toml lets run unasked asks
again where its definition is no longer the one that was agreed to.
"""

import asyncio
import logging
import time
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

from base.data_dir import MCP_PINS
from base.settings import Settings
from base.texts import name_key
from storage.engine import SqlDatabase
from tools.declaration import Tool
from tools.mcp.config import read_servers
from tools.mcp.connection import Connection, DeadError
from tools.mcp.pins import WITHDRAWN, Pinned, Pins, PinsFile, PinsRow, pin_of
from tools.mcp.tools import IsFree, ServerTool, absent, as_agreed, prefix_of, read_tools
from tools.registry import Registry

_AGAIN_AFTER_S = 30.0
"""Before a server that failed is tried once more."""
_UNREAD = "pins that were not read yet"
_log = logging.getLogger(__name__)


class Servers:
    """The MCP servers of twobrain.toml, their sessions one set per event loop.

    Raises:
        ConfigurationError: `[mcp]` is not as it should be.
    """

    def __init__(self, settings: Settings, database: SqlDatabase | None = None) -> None:
        """`database` is where the pins are; None: in the data directory."""
        self._settings = settings
        self._cards = read_servers(settings)
        self._pins: Pins = PinsRow(database) if database else PinsFile(settings.data_dir / MCP_PINS)
        self._own: frozenset[str] = frozenset()
        """The names of our own tools, folded."""
        self._by_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, _LoopServers] = WeakKeyDictionary()

    async def join(self, registry: Registry, user: str) -> Registry:
        """Return the registry with the servers' tools, as a user agreed.

        It is the same one again while nothing changed. The first call on an event loop waits for each server
        as long as it may take to connect. One that failed is tried again now and then; nobody waits for it.
        """
        if not self._cards:
            return registry
        self._own = frozenset(name_key(tool.name) for tool in registry)
        ours = self._of_this_loop()
        version = await asyncio.to_thread(self._pins.version)
        if awaited := [task for server in ours.servers if (task := server.refresh())]:
            await asyncio.wait(awaited)
        if ours.pins_version not in {_UNREAD, version}:  # here, or by another process
            for server in ours.servers:
                await server.heed_pins()
        ours.pins_version = version
        return ours.merged(registry, user)

    async def approve_definition(self, name: str, definition: str, user: str) -> None:
        """Remember a user's agreement to a tool that is still so defined."""
        ours = self._of_this_loop()
        found = ours.offers.get(name)
        if found and found.tool.definition == definition:
            await asyncio.to_thread(self._pins.agree, found.server, found.name, user, found.hash)
            for server in ours.servers:
                if server.connection.name == found.server:
                    await server.settle()

    async def agreements(self, user: str) -> list[dict[str, Any]]:
        """Return each known tool: `server`, `tool`, whether it is `agreed` to.

        `own`: the user said so themselves, and not twobrain.toml for all.
        """
        found = []
        for server in self._cards:
            pinned = await asyncio.to_thread(self._pins.of, server)
            for tool in pinned["tools"]:
                pin, own = pin_of(pinned, user, tool), tool in pinned["users"].get(user, {})
                agreed = pin["agreed"] and pin["hash"] not in {"", WITHDRAWN}
                found.append({"server": server, "tool": tool, "agreed": agreed, "own": own})
        return found

    async def withdraw(self, server: str, tool: str, user: str) -> bool:
        """Have a tool ask a user again; False: there is none such."""
        if server not in self._cards or tool not in (await asyncio.to_thread(self._pins.of, server))["tools"]:
            return False
        await asyncio.to_thread(self._pins.withdraw, server, tool, user)
        for listed in self._of_this_loop().servers:
            if listed.connection.name == server:
                await listed.settle()
        return True

    async def close(self) -> None:
        """End this event loop's sessions and the programs behind them."""
        ours = self._by_loop.pop(asyncio.get_running_loop(), None)
        if ours:
            await asyncio.gather(*(server.close() for server in ours.servers))

    def _of_this_loop(self) -> "_LoopServers":
        loop = asyncio.get_running_loop()
        if loop not in self._by_loop:
            connections = [Connection(name, card, self._settings) for name, card in self._cards.items()]
            listed = [
                _ListedServer(each, self._pins, partial(self._is_free, each.name)) for each in connections
            ]
            self._by_loop[loop] = _LoopServers(listed)
        return self._by_loop[loop]

    def _is_free(self, server: str, name: str) -> bool:
        """Tell whether a name can be no other tool's.

        It goes by what is configured, so that no tool comes by another's name while that is away.
        """
        mine = prefix_of(server)
        others = [prefix for prefix in map(prefix_of, self._cards) if prefix.startswith(f"{mine}_")]
        if mine != server and mine in self._cards:
            return False
        return name_key(name) not in self._own and not any(name.startswith(f"{each}_") for each in others)


@dataclass(slots=True)
class _ListedServer:
    connection: Connection
    pins: Pins
    is_free: IsFree
    offers: list[ServerTool] = field(default_factory=list)
    pinned: Pinned = field(default_factory=lambda: Pinned(trusted=False, tools={}, users={}))
    problems: list[str] = field(default_factory=list)
    version: int = 0
    """Counts how often the offers were made anew."""
    listed: list[object] = field(default_factory=list)
    failed: bool = False
    tried_at: float | None = None
    """On the monotonic clock; None: never."""
    trying: asyncio.Task[None] | None = None

    def refresh(self) -> asyncio.Task[None] | None:
        """List the tools where that is due; return what to wait for."""
        is_due = self.tried_at is None or self.connection.outdated
        if self.failed and self.tried_at is not None:
            is_due = time.monotonic() - self.tried_at > _AGAIN_AFTER_S
        if self.trying is None and is_due:
            self.trying = asyncio.create_task(self._try(), name=f"list {self.connection.name}")
        return None if self.failed else self.trying

    async def _try(self) -> None:
        try:
            listed = await self.connection.listed()
            if self.failed or self.tried_at is None or listed != self.listed:
                self.listed = listed
                await self.settle()
            self.failed = False
        except DeadError as error:
            self._fail(str(error))
        except Exception as error:  # a server costs its own tools, never the turn
            _log.exception("MCP server %s", self.connection.name)
            self._fail(type(error).__name__)
        finally:
            self.tried_at, self.trying = time.monotonic(), None

    def _fail(self, why: str) -> None:
        """Offer nothing, or what a session that is open has offered."""
        self.failed, self.version = True, self.version + 1
        if self.connection.is_open:
            self.problems = [f"its tools have changed, and cannot be listed: {why}"]
        else:
            self.offers, self.problems = [], [f"it cannot be used: {why}"]

    async def settle(self) -> None:
        """Make the offers anew, of what is listed and agreed to."""
        self.offers, self.pinned, self.problems = await asyncio.to_thread(
            read_tools, self.connection, self.listed, self.pins, self.is_free
        )
        self.version += 1

    async def heed_pins(self) -> None:
        """Make them anew where another process changed the pins."""
        if not self.failed and await asyncio.to_thread(self.pins.of, self.connection.name) != self.pinned:
            await self.settle()

    async def close(self) -> None:
        if self.trying:
            self.trying.cancel()
            await asyncio.wait([self.trying])
        await self.connection.close()


class _LoopServers:
    def __init__(self, servers: list[_ListedServer]) -> None:
        self.servers = servers
        self.offers: dict[str, ServerTool] = {}
        """By the names that models call them by."""
        self.pins_version: Hashable = _UNREAD
        """Of the pins that the offers were made with."""
        self._base: Registry | None = None
        self._versions: list[int] = []
        self._merged: dict[str, Registry] = {}
        """By user."""

    def merged(self, base: Registry, user: str) -> Registry:
        """Return the registry with each server's tools behind its own.

        Of two that are named alike the first stays.
        """
        versions = [server.version for server in self.servers]
        if base is not self._base or versions != self._versions:
            self._base, self._versions, self.offers, self._merged = base, versions, {}, {}
        if user not in self._merged:
            taken = {tool.name for tool in base}
            tools = [tool for server in self.servers for tool in self._tools_of(server, taken, user)]
            self._merged[user] = Registry([*base, *tools])
        return self._merged[user]

    def _tools_of(self, server: _ListedServer, taken: set[str], user: str) -> Iterator[Tool]:
        problems = list(server.problems)
        for offer in server.offers:
            name = offer.tool.name
            if name in taken:
                problems.append(f"{offer.name!r} is left out: there is a tool {name!r} already")
                continue
            taken.add(name)
            self.offers[name] = offer
            pin = pin_of(server.pinned, user, offer.name)
            yield as_agreed(offer, server.connection.card, pin).tool
        if problems:
            yield absent(server.connection.name, server.connection.card, "; ".join(problems))
