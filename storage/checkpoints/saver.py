"""The checkpoint saver on SQLite, which writes in groups.

Tables and reading are langgraph-checkpoint-sqlite's.

A conversation does not wait for its steps to be on disk, but before anything that must not happen twice and
before its end: see `Checkpoints.settled`. Whatever is put by however many of them goes into one transaction:
one thread, one connection, one sync to disk for all of it.
"""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
    get_checkpoint_metadata,
)
from langgraph.checkpoint.sqlite import SqliteSaver

from storage.checkpoints.delta_history import HistoryReader, thread_and_namespace
from storage.checkpoints.durable import DurableSaver, whole
from storage.checkpoints.maintenance import copy_thread, delete_runs, delete_thread, prune
from storage.checkpoints.sqlite_file import (
    ADDED,
    CHECKPOINTS,
    COUNTED,
    REPLACED,
    CheckpointFile,
    Consumed,
    Put,
    nothing,
)
from storage.serializer import StrictSerializer
from storage.writer import Lane, Writer

T = TypeVar("T")

_MOST_READERS = 4


class Checkpoints(DurableSaver):
    """A saver for many tasks, event loops and processes.

    A checkpoint, and what a step wrote, is on disk a moment later, in the order in which its thread put
    them: no later one is there without the earlier ones. What failed to be written goes with what follows
    it, whose caller waits for it then, and is told if it fails again. A read of a thread, an interrupt and an
    error wait for all that came before. Every method may raise StorageError.

    A test that cuts the power passes `committing`: it is called in the thread that writes, just before each
    commit. What it raises undoes that transaction and reaches all who wait for it; when it raises from the
    n-th call on, the file is as after a cut before the n-th commit.
    """

    def __init__(
        self, path: Path, committing: Callable[[], None] = nothing, writer: Writer | None = None
    ) -> None:
        """Open or create the file; blocks; `writer` None: one of its own."""
        super().__init__(serde=StrictSerializer())
        self._file = CheckpointFile(path, committing)
        self._writes: Lane[Put] = (writer or Writer("checkpoint-writer")).open(self._file)
        self._last: dict[str, Put] = {}
        """By thread, what was put last, until it is known to be on disk."""
        self._latest: dict[str, dict[str, Any]] = {}
        """By thread, the values of its last checkpoint, while somebody follows them."""
        self._readers = ThreadPoolExecutor(_MOST_READERS, "checkpoint-reader")

    def close(self) -> None:
        """Write what is queued and let go of the file; blocks."""
        self._readers.shutdown()
        self._writes.close()

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,  # noqa: ARG002 (the base class's)
    ) -> RunnableConfig:
        """Save a checkpoint, after all that was put in its thread before."""
        thread, ns = thread_and_namespace(config)
        if not ns and thread in self._latest:
            self._latest[thread].update(checkpoint["channel_values"])
        before = config["configurable"].get("checkpoint_id")
        described = json.dumps(get_checkpoint_metadata(config, metadata), ensure_ascii=False)
        row = (
            *(thread, ns, checkpoint["id"], before),
            *self.serde.dumps_typed(checkpoint),
            described.encode("utf-8", "ignore"),
        )
        deltas: Any = metadata.get(COUNTED)
        consumed = Consumed((thread, ns, before), tuple(deltas)) if before and deltas else None
        await self._put(thread, CHECKPOINTS, [row], consumed)
        named = {"thread_id": thread, "checkpoint_ns": ns, "checkpoint_id": checkpoint["id"]}
        return {"configurable": named}

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Save a step's writes, for the checkpoint that it began at."""
        writes = whole(writes)
        thread, ns = thread_and_namespace(config)
        key = (thread, ns, str(config["configurable"]["checkpoint_id"]), task_id, task_path)
        rows = [
            (*key, WRITES_IDX_MAP.get(channel, index), channel, *self.serde.dumps_typed(value))
            for index, (channel, value) in enumerate(writes)
        ]
        special = all(channel in WRITES_IDX_MAP for channel, _ in writes)
        await self._put(thread, REPLACED if special else ADDED, rows)
        if any(channel in WRITES_IDX_MAP for channel, _ in writes):  # nothing need follow it
            await self.settled(thread)

    @contextmanager
    def latest_values(self, thread: str) -> Iterator[Mapping[str, Any]]:
        """Yield the values of a thread's last checkpoint, as put here.

        How a turn ended is told from them. To read a conversation of 200 rounds again would take 10 ms, and a
        longer one's end would take longer.
        """
        values = self._latest[thread] = {}
        try:
            yield values
        finally:
            del self._latest[thread]

    async def settled(self, thread: str) -> None:
        """Return once all is on disk that a thread put before.

        Raises:
            StorageError: it cannot be written. Nothing is lost: it is tried again with what follows.
        """
        last = self._last.get(thread)
        if last is None:
            return
        if not last.is_there:
            await self._writes.submit(Put(after=last))
        if self._last.get(thread) is last:
            del self._last[thread]

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Return a thread's last or named checkpoint; None: there is none."""
        return await self._read(config, lambda saver: saver.get_tuple(config))

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002 (the base class's name)
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """Yield checkpoints, the newest first."""
        found = await self._read(
            config, lambda saver: list(saver.list(config, filter=filter, before=before, limit=limit))
        )
        for each in found:
            yield each

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """Return what the channels are rebuilt from."""
        return await self._read(
            config, lambda saver: saver.get_delta_channel_history(config=config, channels=channels)
        )

    async def threads(self) -> list[str]:
        """Return the ids of all threads."""
        listed = "SELECT DISTINCT thread_id FROM checkpoints WHERE checkpoint_ns = ''"
        return await self._read(None, lambda saver: [thread for (thread,) in saver.conn.execute(listed)])

    async def adelete_thread(self, thread_id: str) -> None:
        """Delete all that is stored of a thread."""
        await self._change(lambda connection: delete_thread(connection, str(thread_id)))

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Delete the checkpoints of runs, and what they added."""
        await self._change(lambda connection: delete_runs(connection, run_ids))

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copy all that is stored of a thread to another."""
        await self._change(lambda connection: copy_thread(connection, source_thread_id, target_thread_id))

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Delete what threads' last checkpoints do not need, or with `delete` all."""
        await self._change(lambda connection: prune(connection, self.serde, thread_ids, strategy))

    def get_next_version(self, current: Any, channel: None) -> Any:
        """Return a channel's next version: 2 bytes, the stock saver's 53.

        A thread that the stock saver began goes on as it began: one thread's versions are compared.
        """
        if isinstance(current, str):
            return SqliteSaver.get_next_version(self, current, channel)  # type: ignore[arg-type]
        return super().get_next_version(current, channel)

    async def _change(self, change: Callable[[sqlite3.Connection], None]) -> None:
        await self._writes.submit(Put(change=change))

    async def _put(
        self, thread: str, into: str, rows: Sequence[Sequence[Any]], consumes: Consumed | None = None
    ) -> None:
        """Queue rows; where the thread's last ones failed, wait for both."""
        last = self._last.get(thread)
        put = self._last[thread] = Put(into, rows, after=last, consumes=consumes)
        if last and last.has_failed and not last.is_there:
            await self._writes.submit(put)
        else:
            self._writes.leave(put)

    async def _read(self, config: RunnableConfig | None, read: Callable[[HistoryReader], T]) -> T:
        """Read once all is on disk that was put before."""
        for thread in list(self._last) if config is None else [thread_and_namespace(config)[0]]:
            await self.settled(thread)
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._look, read)

    def _look(self, read: Callable[[HistoryReader], T]) -> T:
        try:
            with closing(self._file.connect()) as connection:
                saver = HistoryReader(connection, serde=self.serde)
                saver.is_setup = True
                connection.execute("BEGIN")  # what is read is as it stood at one moment
                return read(saver)
        except sqlite3.Error as error:
            raise self._file.explained(error) from error


@asynccontextmanager
async def open_checkpoints(
    path: Path, committing: Callable[[], None] = nothing, writer: Writer | None = None
) -> AsyncIterator[Checkpoints]:
    """Open or create the checkpoints at a path; see `Checkpoints`.

    Raises:
        StorageError: they cannot be used.
    """
    saver = await asyncio.to_thread(Checkpoints, path, committing, writer)
    try:
        yield saver
    finally:
        await asyncio.to_thread(saver.close)
