"""Open the store that holds what people asked to be remembered."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import aiosqlite
from langgraph.store.base import BaseStore
from langgraph.store.sqlite.aio import AsyncSqliteStore

from errors import StorageError
from graphs.meanings import MeaningStore
from ledger.database import BUSY_S, why
from ledger.private import create_private
from models.embedding import Embedder, EmbeddingCard
from settings import Settings

_FILE = "store.db"
_ATTEMPTS = 60
_RETRY_S = 0.05


@asynccontextmanager
async def open_memories(settings: Settings) -> AsyncIterator[BaseStore]:
    """Open or create the store of the data directory: a file for its owner alone.

    It finds by meaning where `[tools.memory]` names an embedding model.

    Raises:
        ConfigurationError: that table is not as it should be.
        StorageError: the file cannot be used.
    """
    path = settings.data_dir / _FILE
    card = settings.read_table(("tools", "memory"), EmbeddingCard)
    async with AsyncExitStack() as stack:
        try:
            await asyncio.to_thread(create_private, path)
            # The store begins its own transactions.
            connection = await stack.enter_async_context(aiosqlite.connect(path, isolation_level=None))
            await connection.execute(f"PRAGMA busy_timeout={BUSY_S * 1000}")
            await connection.execute("PRAGMA foreign_keys=ON")  # or a vector outlives what was forgotten
            store = (
                MeaningStore(connection, Embedder(card, settings)) if card else AsyncSqliteStore(connection)
            )
            await _set_up(connection, await stack.enter_async_context(_ended(store)))
        except (OSError, aiosqlite.Error) as error:
            raise StorageError(f"The memories {path} cannot be used: {why(error)}.") from None
        yield store


@asynccontextmanager
async def _ended(store: AsyncSqliteStore) -> AsyncIterator[AsyncSqliteStore]:
    """End with the block the task that runs a store's operations, which the store leaves to the loop."""
    try:
        yield store
    finally:
        if task := store._task:  # noqa: SLF001 (nothing public ends it)
            task.cancel()
            await asyncio.wait([task])


async def _set_up(connection: aiosqlite.Connection, store: AsyncSqliteStore) -> None:
    """Make the tables. Of processes that do so at once one fails at a step that another has just made."""
    deadline = time.monotonic() + BUSY_S
    for attempt in range(_ATTEMPTS, -1, -1):
        try:
            async with connection.execute("PRAGMA journal_mode=WAL"):
                pass  # a cursor left open would forbid the next attempt to register its function again
            await store.setup()
        except (aiosqlite.IntegrityError, aiosqlite.OperationalError):
            if not attempt or time.monotonic() > deadline:
                raise
        else:
            return
        await asyncio.sleep(_RETRY_S)
