"""The store of memories in Postgres. Uses private names of langgraph-checkpoint-postgres."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from langgraph.store.base import BaseStore, Op, Result
from langgraph.store.postgres.aio import AsyncPostgresStore

from storage.memories import ended
from storage.postgres.connections import Pool, open_pool
from storage.semantic_search import MeaningSearch, nearness

if TYPE_CHECKING:
    from storage.semantic_search import TextEmbedder

_TABLE = """
    CREATE TABLE IF NOT EXISTS twobrain_vectors (
        prefix text NOT NULL, key text NOT NULL, model text NOT NULL, vector bytea NOT NULL,
        PRIMARY KEY (prefix, key),
        FOREIGN KEY (prefix, key) REFERENCES store (prefix, key) ON DELETE CASCADE)
"""
_WITHOUT = """
    SELECT key, value->>'text' AS text FROM store AS s
    WHERE prefix = %s AND jsonb_typeof(value->'text') = 'string' AND NOT EXISTS (
        SELECT 1 FROM twobrain_vectors AS m WHERE m.prefix = s.prefix AND m.key = s.key AND m.model = %s)
    ORDER BY updated_at DESC LIMIT %s
"""
_ADD_VECTOR = """
    INSERT INTO twobrain_vectors (prefix, key, model, vector)
    SELECT prefix, key, %s, %s FROM store WHERE prefix = %s AND key = %s AND value->>'text' = %s
    ON CONFLICT (prefix, key) DO UPDATE SET model = excluded.model, vector = excluded.vector
"""
_VECTORS = "SELECT key, vector FROM twobrain_vectors WHERE prefix = %s AND model = %s"


class PostgresMemories(AsyncPostgresStore):
    """LangGraph's store, patient with a database that is away."""

    def __init__(self, pool: Pool) -> None:
        super().__init__(pool.connections)
        self._pool = pool

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """Execute operations; raises StorageError."""
        return await self._pool.patiently(super().abatch, list(ops))


class VectorRows(MeaningSearch, PostgresMemories):
    """A store of texts with their vectors."""

    def __init__(self, pool: Pool, embedder: "TextEmbedder") -> None:
        super().__init__(pool)
        self._embedder = embedder

    async def setup(self) -> None:
        """Make the tables."""
        await super().setup()
        await self._run(_TABLE)

    async def _without(self, prefix: str, model: str, limit: int) -> list[tuple[str, str]]:
        return [(row["key"], row["text"]) for row in await self._run(_WITHOUT, [prefix, model, limit])]

    async def _add_vectors(self, rows: Sequence[tuple[str, bytes, str, str, str]]) -> None:
        for row in rows:
            await self._run(_ADD_VECTOR, row)

    async def _nearest(
        self, wanted: bytes, prefix: str, model: str, limit: int, offset: int
    ) -> dict[str, float]:
        rows = await self._run(_VECTORS, [prefix, model])
        near = await asyncio.to_thread(lambda: {row["key"]: nearness(wanted, row["vector"]) for row in rows})
        best = sorted(near, key=lambda key: near[key], reverse=True)[offset : offset + limit]
        return {key: near[key] for key in best}

    async def _run(self, statement: Any, values: Sequence[Any] = ()) -> list[dict[str, Any]]:
        async def run() -> list[dict[str, Any]]:
            async with self._cursor() as cursor:
                await cursor.execute(statement, values, binary=True)
                return await cursor.fetchall() if cursor.description else []

        return await self._pool.patiently(run)


@asynccontextmanager
async def open_postgres_memories(
    database_url: str, embedder: "TextEmbedder | None" = None
) -> AsyncIterator[BaseStore]:
    """Open or create the store; `embedder` as in `open_memories`.

    Raises:
        StorageError: the database cannot be used.
    """
    async with open_pool(database_url) as pool:
        store = VectorRows(pool, embedder) if embedder else PostgresMemories(pool)
        await pool.set_up("store_migrations", len(store.MIGRATIONS), store.setup)
        async with ended(store):
            yield store
