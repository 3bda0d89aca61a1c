"""Damaged rows of a thread, and their removal to damaged.db."""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langgraph.checkpoint.base import empty_checkpoint

from base.data_dir import DAMAGED
from nodes.state import append
from storage.checkpoints.sqlite_file import OF_STEPS
from storage.serializer import StrictSerializer, UnreadableError
from storage.sqlite import BUSY_S, create_private, explained

_ROW_PARTS = {"checkpoints": "metadata, type, checkpoint", "writes": "channel, type, value"}
_AT_CHECKPOINT = "thread_id = ? AND checkpoint_id = ?"
_ANSWERS = f"{_AT_CHECKPOINT} AND channel = '__resume__'"
_CHECKPOINT_KEYS = {
    "channel_values": dict,
    "channel_versions": dict,
    "versions_seen": dict,
    "id": str,
    "ts": str,
    "v": int,
}
"""Keys of a checkpoint, and the types of their values."""


@dataclass(frozen=True, slots=True)
class DamagedRow:
    """A row that cannot be read."""

    table: str
    row: int
    """Its number in the table."""
    checkpoint_id: str
    why: str


class ThreadRows:
    """The stored rows of one thread.

    Each method is a transaction, blocks, and may raise StorageError.
    """

    def __init__(self, path: Path, thread_id: str) -> None:
        self._path = path
        self._thread = thread_id
        self._serde = StrictSerializer()

    def damaged(self) -> list[DamagedRow]:
        """Return the rows that cannot be read."""
        with opened(self._path) as database:
            return list(self._damaged(database))

    def remove_damaged(self) -> list[DamagedRow]:
        """Take out what cannot be read, and return it.

        A step's result is dropped. Of checkpoints, the newest gives way to the one before it; an older one,
        through which the conversation is still rebuilt, to an empty one.
        """
        with self._changing() as database:
            damaged = list(self._damaged(database))
            for row in reversed(damaged):
                if row.table == "writes":
                    _move(database, "writes", "rowid = ?", [row.row])
                elif row.checkpoint_id == self._newest(database):
                    self._remove_newest(database)
                else:
                    _copy(database, "checkpoints", "rowid = ?", [row.row])
                    empty = self._serde.dumps_typed({**empty_checkpoint(), "id": row.checkpoint_id})
                    change = "UPDATE checkpoints SET type = ?, checkpoint = ?, metadata = ? WHERE rowid = ?"
                    database.execute(change, [*empty, b"{}", row.row])
        return damaged

    def step_back(self) -> bool:
        """Take out the newest checkpoint; False: there was none before it."""
        with self._changing() as database:
            self._remove_newest(database)
            return self._newest(database) is not None

    def answers(self) -> int:
        """Count the answers to the newest question that no run took up."""
        with opened(self._path) as database:
            query = f"SELECT count(*) FROM writes WHERE {_ANSWERS}"  # noqa: S608 (our own words)
            found: int = database.execute(query, [self._thread, self._newest(database)]).fetchone()[0]
        return found

    def remove_answers(self) -> None:
        """Take those answers back."""
        with self._changing() as database:
            _move(database, "writes", _ANSWERS, [self._thread, self._newest(database)])

    @contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        """Open a transaction with damaged.db attached; an error undoes it."""
        with opened(self._path) as database:
            database.execute("ATTACH ? AS removed", [str(create_private(self._path.with_name(DAMAGED)))])
            database.execute("BEGIN IMMEDIATE")
            yield database
            database.execute("COMMIT")

    def _damaged(self, database: sqlite3.Connection) -> Iterator[DamagedRow]:
        for table, columns in _ROW_PARTS.items():
            rows = database.execute(
                f"SELECT rowid, checkpoint_id, {columns} FROM {table}"  # noqa: S608
                " WHERE thread_id = ? ORDER BY checkpoint_id, rowid",
                [self._thread],
            )
            for row, checkpoint_id, beside, kind, blob in rows:
                if problem := self._problem(table, beside, (kind, blob)):
                    yield DamagedRow(table, row, checkpoint_id, problem)

    def _problem(self, table: str, beside: Any, data: tuple[str, bytes]) -> str:
        """Return what is wrong with a row; empty where nothing is."""
        try:
            value = self._serde.loads_typed(data)
            if table == "checkpoints":
                json.loads(beside or b"{}")
                return _wrong_shape(value)
            if beside == "messages":
                append([], [value])
        except UnreadableError as error:
            return str(error)
        except Exception as error:  # whatever a value of another shape makes its reader say
            return f"a value that does not fit ({type(error).__name__})"
        return ""

    def _remove_newest(self, database: sqlite3.Connection) -> None:
        """Take out the newest checkpoint with the writes that led to it.

        Their steps run again. Of those writes, only what was added to the conversation is still there.
        """
        newest = self._newest(database)
        for table in _ROW_PARTS:
            _move(database, table, _AT_CHECKPOINT, [self._thread, newest])
        _move(database, "writes", OF_STEPS, [self._thread, self._newest(database)])

    def _newest(self, database: sqlite3.Connection) -> str | None:
        query = "SELECT max(checkpoint_id) FROM checkpoints WHERE thread_id = ?"
        newest: str | None = database.execute(query, [self._thread]).fetchone()[0]
        return newest


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """Open the file of the checkpoints; blocks.

    Raises:
        StorageError: it cannot be used.
    """
    with (
        explained(f"The checkpoints {path}"),
        closing(sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)) as database,
    ):
        yield database


def _copy(database: sqlite3.Connection, table: str, which: str, values: Sequence[Any]) -> None:
    database.execute(f"CREATE TABLE IF NOT EXISTS removed.{table} AS SELECT * FROM main.{table} WHERE 0")  # noqa: S608
    database.execute(f"INSERT INTO removed.{table} SELECT * FROM main.{table} WHERE {which}", values)  # noqa: S608


def _move(database: sqlite3.Connection, table: str, which: str, values: Sequence[Any]) -> None:
    _copy(database, table, which, values)
    database.execute(f"DELETE FROM main.{table} WHERE {which}", values)  # noqa: S608


def _wrong_shape(checkpoint: Any) -> str:
    """Return what is wrong with a checkpoint's keys; empty where nothing is."""
    if not isinstance(checkpoint, dict):
        return "a value that is no checkpoint"
    wrong = [key for key, kind in _CHECKPOINT_KEYS.items() if not isinstance(checkpoint.get(key), kind)]
    return f"a checkpoint without its {wrong[0]}" if wrong else ""
