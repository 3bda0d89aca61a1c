"""Copies, prunes and deletes the checkpoints of whole threads."""

import json
import sqlite3
from collections.abc import Sequence
from itertools import chain

from langgraph.checkpoint.serde.base import SerializerProtocol

from storage.checkpoints.delta_history import HistoryReader
from storage.checkpoints.sqlite_file import COUNTED

_COLUMNS = {
    "checkpoints": "checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint, metadata",
    "writes": "checkpoint_ns, checkpoint_id, task_id, task_path, idx, channel, type, value",
}
_ONE_CHECKPOINT = "thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ?"
_OF_RUN = "json_extract(CAST(metadata AS TEXT), '$.run_id') = ?"


def delete_thread(connection: sqlite3.Connection, thread: str) -> None:
    """Delete all that is stored of a thread."""
    for table in _COLUMNS:
        connection.execute(f"DELETE FROM {table} WHERE thread_id = ?", [thread])  # noqa: S608 (our own names)


def delete_runs(connection: sqlite3.Connection, run_ids: Sequence[str]) -> None:
    """Delete the checkpoints of runs."""
    for run in run_ids:
        found = connection.execute(
            f"SELECT thread_id, checkpoint_ns, checkpoint_id FROM checkpoints WHERE {_OF_RUN}",  # noqa: S608
            [run],
        )
        _delete(connection, found.fetchall())


def copy_thread(connection: sqlite3.Connection, source: str, target: str) -> None:
    """Copy all that is stored of a thread to another."""
    for table, columns in _COLUMNS.items():
        connection.execute(
            f"INSERT OR REPLACE INTO {table} (thread_id, {columns})"  # noqa: S608
            f" SELECT ?, {columns} FROM {table} WHERE thread_id = ?",
            [target, source],
        )


def prune(
    connection: sqlite3.Connection, serde: SerializerProtocol, threads: Sequence[str], strategy: str
) -> None:
    """Delete what each thread's last checkpoint does not need, or all.

    Raises:
        ValueError: there is no such strategy.
    """
    if strategy not in {"keep_latest", "delete"}:
        raise ValueError(f"There is no way to prune called {strategy!r}: keep_latest or delete.")
    for thread in threads:
        if strategy == "delete":
            delete_thread(connection, thread)
        else:
            _keep_latest(connection, serde, thread)


def _keep_latest(connection: sqlite3.Connection, serde: SerializerProtocol, thread: str) -> None:
    reader = HistoryReader(connection, serde=serde)
    newest = connection.execute(
        "SELECT checkpoint_ns, max(checkpoint_id), metadata FROM checkpoints"
        " WHERE thread_id = ? GROUP BY checkpoint_ns",
        [thread],
    )
    for ns, checkpoint_id, described in newest.fetchall():
        deltas = json.loads(described or b"{}").get(COUNTED, ())
        chains, _ = reader.walk((thread, ns), checkpoint_id, deltas)
        needed = {checkpoint_id, *chain.from_iterable(chains.values())}
        there = connection.execute(
            "SELECT thread_id, checkpoint_ns, checkpoint_id FROM checkpoints"
            " WHERE thread_id = ? AND checkpoint_ns = ?",
            [thread, ns],
        )
        _delete(connection, [row for row in there.fetchall() if row[2] not in needed])


def _delete(connection: sqlite3.Connection, keys: Sequence[tuple[str, str, str]]) -> None:
    for table in _COLUMNS:
        connection.executemany(f"DELETE FROM {table} WHERE {_ONE_CHECKPOINT}", keys)  # noqa: S608
