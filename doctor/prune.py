"""Retention: finished conversations are deleted; what is open or damaged stays."""

import asyncio
import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langgraph.checkpoint.base import BaseCheckpointSaver

from base.data_dir import LONG_RESULTS
from base.errors import BusyThreadError, StorageError
from doctor.diagnose import diagnose
from graphs.session import Orchestrator
from storage.sqlite import why

_BUSY_S = 10
_FRESH_S = 3_600
"""A long result as young as that may belong to a call whose outcome is not on record yet."""


@dataclass(frozen=True, slots=True)
class Pruned:
    """What went."""

    threads: list[str]
    results: int
    """Long results."""
    freed_bytes: int
    compacted: bool
    """False where another process was at the databases: the room inside them is used again all the same."""


async def prunable(orchestrator: Orchestrator, before: float) -> list[str]:
    """Return finished threads last used before a time, oldest first.

    Those half deleted are among them. A thread whose conversation is not in this data directory is another
    program's to delete.
    """
    rows = await orchestrator.ledger.threads()
    return [row["thread"] for row in rows if await _is_prunable(orchestrator, row, before)]


async def prune(orchestrator: Orchestrator, before: float, *, audit: bool = False) -> Pruned:
    """Delete those threads, then the long results that nothing needs any more.

    It can be cut short anywhere: each thread is there or marked or gone, and the next run goes on. `before`
    is in seconds since the epoch; with `audit` the calls of those threads go from the ledger too.

    Raises:
        StorageError: something cannot be written.
    """
    folder = orchestrator.settings.data_dir
    occupied = await asyncio.to_thread(_size, folder)
    gone = [
        thread
        for thread in await prunable(orchestrator, before)
        if await _delete(orchestrator, thread, before, audit=audit)
    ]
    needed = await orchestrator.ledger.needed_results()
    stored_before = min(before, time.time() - _FRESH_S)
    results = await orchestrator.long_results.sweep(needed, stored_before)
    compacted = [await asyncio.to_thread(_compact, path) for path in sorted(folder.glob("*.db"))]
    freed = max(0, occupied - await asyncio.to_thread(_size, folder))
    return Pruned(gone, results, freed, compacted=all(compacted))


async def _is_prunable(
    orchestrator: Orchestrator, row: dict[str, Any] | None, before: float, *, held: bool = False
) -> bool:
    if row is None or row["status"] == "pruning":
        return row is not None
    if row["status"] not in {"answered", "failed"} or row["updated_at"] >= before:
        return False
    if await orchestrator.ledger.open_calls(row["thread"]):
        return False
    found = await diagnose(orchestrator, row["thread"], held=held)
    return found.condition in {"answered", "failed"} and not found.remedies


async def _delete(orchestrator: Orchestrator, thread: str, before: float, *, audit: bool) -> bool:
    """Delete a thread under its lock; False: a turn has begun since."""
    ledger, saver = orchestrator.ledger, orchestrator.graph.checkpointer
    assert isinstance(saver, BaseCheckpointSaver)  # noqa: S101 (what an orchestrator is given)
    try:
        async with orchestrator.turns.at_once(thread):
            row = await ledger.thread(thread)
            if row is None or not await _is_prunable(orchestrator, row, before, held=True):
                return False
            await ledger.touch(thread, user=row["user"], status="pruning")
            await saver.adelete_thread(thread)
            await ledger.forget_thread(thread, audit=audit)
    except BusyThreadError:
        return False
    return True


def _compact(path: Path) -> bool:
    """Give a database's free pages back; False: it was busy."""
    try:
        with closing(sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None)) as database:
            database.execute("VACUUM")
            busy, _, _ = database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            return not busy
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", None) in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
            return False
        raise StorageError(f"The database {path} cannot be compacted: {why(error)}.") from error


def _size(folder: Path) -> int:
    files = [*folder.glob("*.db*"), *(folder / LONG_RESULTS).rglob("*")]
    return sum(path.stat().st_size for path in files if path.is_file())
