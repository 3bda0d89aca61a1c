"""What can be read of a thread's rows, and how the rest is taken out so that the thread can be talked on in.

What is taken out is kept in damaged.db beside the checkpoints.
"""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langgraph.checkpoint.base import empty_checkpoint

from base.data_dir import DAMAGED
from base.errors import StorageError
from nodes.state import append
from storage.checkpoints.sqlite_file import OF_STEPS
from storage.serializer import StrictSerializer, UnreadableError
from storage.sqlite import BUSY_S, create_private, why

_PARTS = {"checkpoints": ("type", "checkpoint"), "writes": ("type", "value")}
_AT = "thread_id = ? AND checkpoint_id = ?"
_ANSWERS = f"{_AT} AND channel = '__resume__'"
_NEEDED = {
    "channel_values": dict,
    "channel_versions": dict,
    "versions_seen": dict,
    "id": str,
    "ts": str,
    "v": int,
}
"""Keys of a checkpoint, and the types of their values."""


@dataclass(frozen=True, slots=True)
class Damage:
    """A row that cannot be read."""

    table: str
    row: int
    """Its number in the table."""
    checkpoint_id: str
    why: str


class Rows:
    """The rows of one thread. Every method is a transaction, blocks, and may raise StorageError."""

    def __init__(self, path: Path, thread_id: str) -> None:
        self._path = path
        self._thread = thread_id
        self._serde = StrictSerializer()

    def damages(self) -> list[Damage]:
        """Return the rows that cannot be read."""
        with self._opened() as database:
            return list(self._found(database))

    def mend(self) -> list[Damage]:
        """Take out what cannot be read, and return it.

        A step's result is dropped. Of checkpoints, the newest gives way to the one before it; an older one,
        through which the conversation is still rebuilt, to an empty one.
        """
        with self._changing() as database:
            damages = list(self._found(database))
            for damage in damages:
                self._keep(database, damage.table, damage.row)
                if damage.table == "writes":
                    database.execute("DELETE FROM writes WHERE rowid = ?", [damage.row])
            for damage in reversed(damages):
                if damage.table == "checkpoints":
                    self._replace(database, damage)
        return damages

    def go_back(self) -> bool:
        """Take out the newest checkpoint, and return whether there is one before it."""
        with self._changing() as database:
            if newest := self._newest(database):
                self._take_out(database, newest)
            return self._newest(database) is not None

    def answers(self) -> int:
        """Return how many answers to the newest checkpoint's question were given and never taken up."""
        with self._opened() as database:
            counted = f"SELECT count(*) FROM writes WHERE {_ANSWERS}"  # noqa: S608 (our own words)
            found: int = database.execute(counted, self._at(database)).fetchone()[0]
        return found

    def forget_answers(self) -> None:
        """Take those answers back."""
        with self._changing() as database:
            self._take(database, "writes", _ANSWERS, self._at(database))

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(self._path, isolation_level=None)) as database:
                database.execute(f"PRAGMA busy_timeout={BUSY_S * 1000}")
                yield database
        except (OSError, sqlite3.Error) as error:
            raise StorageError(f"The checkpoints {self._path} cannot be used: {why(error)}.") from error

    @contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        """Open a transaction that counts where no error ends it; what is taken out goes to damaged.db."""
        with self._opened() as database:
            aside = create_private(self._path.with_name(DAMAGED))
            database.execute("ATTACH ? AS taken", [str(aside)])
            database.execute("BEGIN IMMEDIATE")
            yield database
            database.execute("COMMIT")

    def _found(self, database: sqlite3.Connection) -> Iterator[Damage]:
        for table, columns in _PARTS.items():
            more = "metadata" if table == "checkpoints" else "channel"
            rows = database.execute(
                f"SELECT rowid, checkpoint_id, {more}, {', '.join(columns)} FROM {table}"  # noqa: S608
                " WHERE thread_id = ? ORDER BY checkpoint_id, rowid",
                [self._thread],
            )
            for row, checkpoint_id, beside, kind, blob in rows:
                if said := self._problem(table, beside, (kind, blob)):
                    yield Damage(table, row, checkpoint_id, said)

    def _problem(self, table: str, beside: Any, data: tuple[str, bytes]) -> str:
        try:
            value = self._serde.loads_typed(data)
            if table == "checkpoints":
                json.loads(beside or b"{}")
                return _shape(value)
            if beside == "messages":
                append([], [value])
        except UnreadableError as error:
            return str(error)
        except Exception as error:  # whatever a value of another shape makes its reader say
            return f"a value that does not fit ({type(error).__name__})"
        return ""

    def _replace(self, database: sqlite3.Connection, damage: Damage) -> None:
        if damage.checkpoint_id == self._newest(database):
            self._take_out(database, damage.checkpoint_id)
            return
        blank = {**empty_checkpoint(), "id": damage.checkpoint_id}
        database.execute(
            "UPDATE checkpoints SET type = ?, checkpoint = ?, metadata = ? WHERE rowid = ?",
            [*self._serde.dumps_typed(blank), b"{}", damage.row],
        )

    def _take_out(self, database: sqlite3.Connection, checkpoint_id: str) -> None:
        """Take out the newest checkpoint, and what the steps that led to it wrote: they run again.

        Of that, only what was added to the conversation is still there.
        """
        for table in _PARTS:
            self._take(database, table, _AT, [self._thread, checkpoint_id])
        self._take(database, "writes", OF_STEPS, self._at(database))

    def _take(self, database: sqlite3.Connection, table: str, which: str, values: Sequence[Any]) -> None:
        rows = database.execute(f"SELECT rowid FROM {table} WHERE {which}", values).fetchall()  # noqa: S608
        for (row,) in rows:
            self._keep(database, table, row)
        database.execute(f"DELETE FROM {table} WHERE {which}", values)  # noqa: S608

    def _keep(self, database: sqlite3.Connection, table: str, row: int) -> None:
        database.execute(f"CREATE TABLE IF NOT EXISTS taken.{table} AS SELECT * FROM main.{table} WHERE 0")  # noqa: S608
        database.execute(f"INSERT INTO taken.{table} SELECT * FROM main.{table} WHERE rowid = ?", [row])  # noqa: S608

    def _at(self, database: sqlite3.Connection) -> list[Any]:
        return [self._thread, self._newest(database)]

    def _newest(self, database: sqlite3.Connection) -> str | None:
        found = "SELECT max(checkpoint_id) FROM checkpoints WHERE thread_id = ?"
        newest: str | None = database.execute(found, [self._thread]).fetchone()[0]
        return newest


def _shape(checkpoint: Any) -> str:
    """Return what is wrong with a checkpoint's keys, empty where nothing is."""
    if not isinstance(checkpoint, dict):
        return "a value that is no checkpoint"
    wrong = [key for key, kind in _NEEDED.items() if not isinstance(checkpoint.get(key), kind)]
    return f"a checkpoint without its {wrong[0]}" if wrong else ""
