"""Checkpoints in Postgres. Uses private names of langgraph-checkpoint-postgres."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
)
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from psycopg import AsyncCursor
from psycopg.rows import DictRow

from storage.checkpoints.durable import DurableSaver
from storage.postgres.connections import Pool, open_pool
from storage.serializer import StrictSerializer

_TABLES = {
    "checkpoints": "checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint, metadata",
    "checkpoint_blobs": "checkpoint_ns, channel, version, type, blob",
    "checkpoint_writes": "checkpoint_ns, checkpoint_id, task_id, task_path, idx, channel, type, blob",
}


class PostgresCheckpoints(DurableSaver, AsyncPostgresSaver):
    """LangGraph's saver, whose steps are on disk once they are put.

    It waits for a database that is away, and puts again what it put: that is then the same.
    Every method may raise StorageError.
    """

    def __init__(self, pool: Pool) -> None:
        super().__init__(pool.connections, serde=StrictSerializer())
        self._pool = pool

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Save a checkpoint."""
        return await self._pool.patiently(super().aput, config, checkpoint, metadata, new_versions)

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Save a step's writes."""
        await self._pool.patiently(super().aput_writes, config, writes, task_id, task_path)

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Return a thread's last or named checkpoint; None: there is none."""
        return await self._pool.patiently(super().aget_tuple, config)

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002 (the base class's name)
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """Yield checkpoints, the newest first."""
        listed = super().alist

        async def found() -> list[CheckpointTuple]:
            return [each async for each in listed(config, filter=filter, before=before, limit=limit)]

        for each in await self._pool.patiently(found):
            yield each

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """Return what the channels are rebuilt from."""
        return await self._pool.patiently(
            super().aget_delta_channel_history, config=config, channels=channels
        )

    async def threads(self) -> list[str]:
        """Return the ids of all threads."""

        async def listed() -> list[str]:
            async with self._cursor() as cursor:
                await cursor.execute("SELECT DISTINCT thread_id FROM checkpoints WHERE checkpoint_ns = ''")
                return [row["thread_id"] for row in await cursor.fetchall()]

        return await self._pool.patiently(listed)

    async def adelete_thread(self, thread_id: str) -> None:
        """Delete all that is stored of a thread."""
        await self._pool.patiently(super().adelete_thread, thread_id)

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Delete the checkpoints of runs."""
        await self._pool.patiently(
            self._execute, "DELETE FROM checkpoints WHERE metadata->>'run_id' = ANY(%s)", [list(run_ids)]
        )

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copy all that is stored of a thread to another."""
        for table, columns in _TABLES.items():
            copied = (
                f"INSERT INTO {table} (thread_id, {columns}) SELECT %s, {columns} FROM {table}"  # noqa: S608
                " WHERE thread_id = %s ON CONFLICT DO NOTHING"
            )
            await self._pool.patiently(self._execute, copied, [target_thread_id, source_thread_id])

    async def _execute(self, statement: Any, values: Sequence[Any]) -> None:
        async with self._cursor() as cursor:
            await cursor.execute(statement, values)

    @asynccontextmanager
    async def _cursor(self, *, pipeline: bool = False) -> AsyncIterator[AsyncCursor[DictRow]]:
        """Yield a cursor; LangGraph's own lets one at a time have one."""
        async with self._pool.connections.connection() as connection:
            if not pipeline:
                async with connection.cursor(binary=True) as cursor:
                    yield cursor
                return
            async with connection.pipeline(), connection.cursor(binary=True) as cursor:
                yield cursor


@asynccontextmanager
async def open_postgres_checkpoints(database_url: str) -> AsyncIterator[PostgresCheckpoints]:
    """Open or create the checkpoints in a database.

    Raises:
        StorageError: it cannot be used.
    """
    async with open_pool(database_url) as pool:
        saver = PostgresCheckpoints(pool)
        await pool.set_up("checkpoint_migrations", len(saver.MIGRATIONS), saver.setup)
        yield saver
