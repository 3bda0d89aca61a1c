"""The store of memories. Uses private names of langgraph."""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, closing
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from langgraph.store.base import BaseStore, Op, Result, SearchItem
from langgraph.store.base.batch import AsyncBatchedBaseStore

from storage.sqlite import BUSY_S, configure, create_private, explained

if TYPE_CHECKING:
    from langgraph.store.sqlite.aio import AsyncSqliteStore

    from storage.semantic_search import TextEmbedder


Store = TypeVar("Store", bound=AsyncBatchedBaseStore)

_ATTEMPTS = 60
_RETRY_S = 0.05


@asynccontextmanager
async def open_memories(path: Path, embedder: "TextEmbedder | None" = None) -> AsyncIterator[BaseStore]:
    """Open or create the store: a file for its owner alone.

    `embedder` finds memories by their meaning; None: they are found by their words.

    Raises:
        StorageError: the file cannot be used.
    """
    await asyncio.to_thread(_prepare, path)
    async with AsyncExitStack() as stack:
        memories = Memories(path, embedder, stack)
        yield await stack.enter_async_context(ended(memories))


class Memories(AsyncBatchedBaseStore):
    """LangGraph's SQLite store, loaded when needed: it imports slowly.

    Every method may raise StorageError.
    """

    def __init__(self, path: Path, embedder: "TextEmbedder | None", stack: AsyncExitStack) -> None:
        super().__init__()
        self._path = path
        self._embedder = embedder
        self._stack = stack
        self._opening = asyncio.Lock()
        self._store: AsyncSqliteStore | None = None

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """Execute operations."""
        return await (await self._opened()).abatch(ops)

    async def asearch(self, namespace_prefix: tuple[str, ...], /, **options: Any) -> list[SearchItem]:
        """Search by meaning where there is a query; raises clients' errors, too."""
        return await (await self._opened()).asearch(namespace_prefix, **options)

    async def _opened(self) -> "AsyncSqliteStore":
        async with self._opening:
            if self._store is None:
                self._store = await self._stack.enter_async_context(_open(self._path, self._embedder))
            return self._store


@asynccontextmanager
async def _open(path: Path, embedder: "TextEmbedder | None") -> "AsyncIterator[AsyncSqliteStore]":
    await asyncio.to_thread(import_module, "storage.semantic_search")  # never on the event loop
    import aiosqlite
    from langgraph.store.sqlite.aio import AsyncSqliteStore

    from storage.semantic_search import VectorStore

    async with AsyncExitStack() as stack:
        with explained(f"The memories {path}"):
            # The store begins its own transactions.
            opened = aiosqlite.connect(path, timeout=BUSY_S, isolation_level=None)
            connection = await stack.enter_async_context(opened)
            await connection.execute("PRAGMA foreign_keys=ON")  # or a vector outlives what was forgotten
            store = VectorStore(connection, embedder) if embedder else AsyncSqliteStore(connection)
            await _set_up(await stack.enter_async_context(ended(store)))
        yield store


def _prepare(path: Path) -> None:
    with explained(f"The memories {path}"):
        create_private(path)
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            configure(connection)


@asynccontextmanager
async def ended(store: Store) -> AsyncIterator[Store]:
    """Cancel a store's task at the end, which it leaves running."""
    try:
        yield store
    finally:
        if task := store._task:  # noqa: SLF001 (nothing public ends it)
            task.cancel()
            await asyncio.wait([task])


async def _set_up(store: "AsyncSqliteStore") -> None:
    """Make the tables, again where another process does so at once."""
    deadline = time.monotonic() + BUSY_S
    for attempt in range(_ATTEMPTS, -1, -1):
        try:
            await store.setup()
        except (sqlite3.IntegrityError, sqlite3.OperationalError):
            if not attempt or time.monotonic() > deadline:
                raise
        else:
            return
        await asyncio.sleep(_RETRY_S)
