"""What every step uses: settings, tools, models, ledger, opened once."""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

from langgraph.config import get_config
from langgraph.store.base import BaseStore

from base.data_dir import CHECKPOINTS, LEDGER, LONG_RESULTS, MEMORIES, THREAD_LOCKS
from base.errors import StorageError
from base.settings import Settings, load_settings
from ledger.ledger import Ledger
from models.call import Caller
from models.catalog import open_embedder
from nodes.shared_users import UsersRow
from storage.checkpoints.durable import DurableSaver
from storage.checkpoints.saver import open_checkpoints
from storage.long_results import LongResults, ResultFiles
from storage.memories import open_memories
from storage.thread_lock import FileLocks, ThreadLocks
from tools.registry import Registry, open_registry

if TYPE_CHECKING:
    from tools.mcp.servers import Servers

_log = logging.getLogger(__name__)

CONFIGURED = "__twobrain_resources"
"""Key in a run's `configurable`: a program's own resources. The prefix keeps it out of checkpoints."""


HELD = "__twobrain_held"
"""Key in a run's `configurable`: the locks, where its caller holds the thread's. No client can send them."""

CONVERSATIONS = "__twobrain_conversations"
"""Key in a run's `configurable`: the `tools.declaration.PastConversations`. The graph alone writes it."""


@dataclass(frozen=True, slots=True)
class Resources:
    """The house's possessions."""

    settings: Settings
    tools: Registry
    models: Caller
    ledger: Ledger
    artifacts: LongResults
    """The long results."""
    turns: ThreadLocks
    """By which one turn of a thread runs at a time."""
    servers: "Servers | None" = None
    """The MCP servers; None: none are used."""
    checkpoints: DurableSaver | None = None
    """What keeps the steps; None: whoever keeps them sees to it that they are on disk."""

    async def joined(self, user: str) -> Self:
        """Return these with MCP tools, as a user agreed to them."""
        tools = await self.servers.join(self.tools, user) if self.servers else self.tools
        return self if tools is self.tools else replace(self, tools=tools)

    async def settled(self, thread: str, *, ended: bool = False) -> None:
        """Return once records and a thread's last steps are on disk.

        `ended`: its turn is over, and does not fail over what the ledger cannot record: that is logged.

        Raises:
            StorageError: it cannot be written.
        """
        recorded = self.ledger.settled()
        try:
            if self.checkpoints:
                await self.checkpoints.settled(thread)
        finally:
            try:
                await recorded
            except StorageError:
                if not ended:
                    raise
                _log.exception("how the turn of thread %s ended was not recorded", thread)

    async def close(self) -> None:
        """End the MCP servers' sessions, the models' connections and the ledger."""
        async with AsyncExitStack() as ending:
            ending.push_async_callback(self.ledger.close)
            ending.push_async_callback(self.models.close)
            if self.servers:
                ending.push_async_callback(self.servers.close)


async def open_resources(settings: Settings | None = None) -> Resources:
    """Open everything anew; off the event loop, for it touches files.

    Raises:
        ConfigurationError: the environment or twobrain.toml is not as expected.
        StorageError: the data directory cannot be used.
    """
    if settings is None:
        settings = await asyncio.to_thread(load_settings)
    tools = await asyncio.to_thread(open_registry, settings)
    models = await asyncio.to_thread(Caller, settings)
    ledger = await Ledger.open(place_of(settings), settings.redact)
    if settings.database_url:
        settings.share_users(UsersRow(ledger.database))
        await asyncio.to_thread(settings.read_users)
    servers = await asyncio.to_thread(_servers, settings, ledger)
    return Resources(settings, tools, models, ledger, *shared_stores(settings, ledger), servers)


@asynccontextmanager
async def open_steps(res: Resources) -> AsyncIterator[DurableSaver]:
    """Open the checkpoints, beside the ledger.

    Raises:
        StorageError: they cannot be used.
    """
    if url := res.settings.database_url:
        from storage.postgres.postgres_saver import open_postgres_checkpoints

        opened: AbstractAsyncContextManager[DurableSaver] = open_postgres_checkpoints(url)
    else:
        opened = open_checkpoints(res.settings.data_dir / CHECKPOINTS, writer=res.ledger.writer)
    async with opened as saver:
        yield saver


def open_store(settings: Settings) -> AbstractAsyncContextManager[BaseStore]:
    """Open the memories; raises as `open_steps`."""
    embedder = open_embedder(settings)
    if url := settings.database_url:
        from storage.postgres.postgres_memories import open_postgres_memories

        return open_postgres_memories(url, embedder)
    return open_memories(settings.data_dir / MEMORIES, embedder)


def place_of(settings: Settings) -> Path | str:
    """Return where the ledger is: a file's path, or a URL."""
    return settings.database_url or settings.data_dir / LEDGER


def shared_stores(settings: Settings, ledger: Ledger) -> tuple[LongResults, ThreadLocks]:
    """Return the long results and the locks, beside the ledger."""
    if not settings.database_url:
        return ResultFiles(settings.data_dir / LONG_RESULTS), FileLocks(settings.data_dir / THREAD_LOCKS)
    from storage.result_rows import ResultRows

    return ResultRows(ledger.database), ledger.database.thread_locks()


def _servers(settings: Settings, ledger: Ledger) -> "Servers | None":
    if not settings.mcp:
        return None
    from tools.mcp.servers import Servers

    return Servers(settings, ledger.database if settings.database_url else None)


shared: list[Future[Resources]] = []
"""What this process shares, once somebody has asked for it; empty before."""
_guard = threading.Lock()


async def resources() -> Resources:
    """Return the run's own resources, else those that this process shares."""
    given = get_config().get("configurable", {}).get(CONFIGURED)
    if isinstance(given, Resources):
        return given
    return await shared_resources()


async def shared_resources() -> Resources:
    """Return what this process shares; the first who asks opens it."""
    with _guard:
        first = not shared
        if first:
            shared.append(Future())
        opened = shared[0]
    if first:
        try:
            opened.set_result(await open_resources())
        except BaseException as error:  # whoever asks next tries again
            shared.clear()
            cut_short = TimeoutError("Opening was cut short.")
            opened.set_exception(error if isinstance(error, Exception) else cut_short)
            raise
    return await asyncio.wrap_future(opened)


def share(res: Resources) -> None:
    """Share these in place of what is shared so far."""
    shared[:] = [Future()]
    shared[0].set_result(res)
