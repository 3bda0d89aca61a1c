"""The file of the checkpoints, written in groups.

What a step wrote goes once the checkpoint after it, which holds it, is there: it need not be stored twice.
What a conversation is rebuilt from stays, and so do interrupts, errors, answers and what no step wrote.
"""

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from langgraph.checkpoint.sqlite import SqliteSaver

from base.errors import StorageError
from storage.serializer import compressed
from storage.sqlite import configure, create_private, explained, make_private, why

CHECKPOINTS = (
    "INSERT OR REPLACE INTO checkpoints"
    " (thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint, metadata)"
)
_WRITES = (
    "INTO writes (thread_id, checkpoint_ns, checkpoint_id, task_id, task_path, idx, channel, type, value)"
)
ADDED = f"INSERT OR IGNORE {_WRITES}"
REPLACED = f"INSERT OR REPLACE {_WRITES}"
_KINDS = {CHECKPOINTS: 4, ADDED: 7, REPLACED: 7}
"""Index of a row's kind; its bytes follow."""

_MOST_ROWS = 64
"""In one statement: each statement lets go of the interpreter, and waits to have it back."""

COUNTED = "counters_since_delta_snapshot"
"""Where a checkpoint's metadata names the channels stored as deltas, which it does not hold itself."""
_NO_STEP = "00000000-0000-0000-0000-000000000000"
"""The task id of what no step wrote."""
OF_STEPS = f"thread_id = ? AND checkpoint_id = ? AND idx >= 0 AND task_id <> '{_NO_STEP}'"
"""What the steps at a checkpoint wrote."""

_Row = Sequence[Any]


def nothing() -> None:
    """Let the transaction be committed."""


@dataclass(frozen=True, slots=True)
class Consumed:
    """Writes of steps, once a checkpoint after them holds them."""

    at: tuple[str, str, str]
    """Thread, namespace and id of that checkpoint."""
    deltas: tuple[str, ...]
    """Channels that are rebuilt from writes, which stay."""

    def holds(self, row: _Row) -> bool:
        """Tell whether a write at the checkpoint need not be stored."""
        task, index, channel = row[3], row[5], row[6]
        return index >= 0 and task != _NO_STEP and channel not in self.deltas

    def delete(self, connection: sqlite3.Connection) -> None:
        """Delete what is on disk of it."""
        thread, ns, checkpoint_id = self.at
        stay = ", ".join("?" * len(self.deltas))
        connection.execute(
            f"DELETE FROM writes WHERE {OF_STEPS} AND checkpoint_ns = ? AND channel NOT IN ({stay})",  # noqa: S608
            [thread, checkpoint_id, ns, *self.deltas],
        )


@dataclass(slots=True, eq=False)
class Put:
    """Something to write: rows, or any change."""

    into: str = ""
    rows: Sequence[_Row] = ()
    after: "Put | None" = None
    """What must be on disk before, and is written with this where it failed to be."""
    change: Callable[[sqlite3.Connection], None] | None = None
    consumes: Consumed | None = None
    """What is deleted once this is there; None where it is not known which channels are stored as deltas."""
    is_there: bool = field(default=False, init=False)
    has_failed: bool = field(default=False, init=False)


class CheckpointFile:
    """The one connection that writes, and how to open those that read."""

    closed = "The checkpoints are closed: open them again."

    def __init__(self, path: Path, committing: Callable[[], None] = nothing) -> None:
        """Open or create the file, for its owner alone.

        `committing` is called just before each commit; what it raises undoes the transaction.

        Raises:
            StorageError: it cannot be used; the message says why and what to do.
        """
        self._path = path
        self._committing = committing
        with explained(f"The checkpoints {path}"):
            create_private(path)
            self._connection = self.connect()
            SqliteSaver(self._connection).setup()
            make_private(path)

    def connect(self) -> sqlite3.Connection:
        """Open a connection, for one thread at a time."""
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        configure(connection)
        return connection

    def commit(self, operations: Sequence[Put]) -> Sequence[None]:
        """Write all of it in one transaction."""
        puts = _in_order(operations)
        if any(put.rows or put.change for put in puts):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                self._write(puts)
                self._committing()
                self._connection.execute("COMMIT")
            except BaseException:
                for put in puts:
                    put.has_failed = True
                with suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")
                raise
        for put in puts:
            put.is_there, put.rows, put.after = True, (), None  # a thread's last one stays in memory
        return [None] * len(operations)

    def is_of_database(self, error: Exception) -> bool:
        """Tell whether it is the file's: it is full, locked, read-only."""
        return isinstance(error, sqlite3.OperationalError)

    def explained(self, error: Exception) -> Exception:
        """Return a file's error as a StorageError; others as they are."""
        if not isinstance(error, OSError | sqlite3.Error):
            return error
        return StorageError(f"The checkpoints {self._path} cannot be used: {why(error)}.")

    def close(self) -> None:
        """Let go of it."""
        self._connection.close()

    def _write(self, puts: Sequence[Put]) -> None:
        waiting: dict[str, list[_Row]] = {}
        for put in puts:
            if put.change:
                self._insert(waiting)
                put.change(self._connection)
            elif {put.into, *waiting} >= {ADDED, REPLACED}:  # rows of one table, and their order counts
                self._insert(waiting)
            if put.rows:
                waiting.setdefault(put.into, []).extend(put.rows)
        ended = {put.consumes.at: put.consumes for put in puts if put.consumes}
        if ADDED in waiting:
            waiting[ADDED] = [row for row in waiting[ADDED] if not _is_consumed(row, ended)]
        self._insert(waiting)
        for steps in ended.values():
            steps.delete(self._connection)

    def _insert(self, waiting: dict[str, list[_Row]]) -> None:
        for into, rows in waiting.items():
            for some in _parts(rows):
                values = [value for row in some for value in _packed(row, _KINDS[into])]
                self._connection.execute(_inserting(into, len(some), len(some[0])), values)
        waiting.clear()


def _is_consumed(row: _Row, ended: Mapping[Any, Consumed]) -> bool:
    steps = ended.get(tuple(row[:3]))
    return steps is not None and steps.holds(row)


def _packed(row: _Row, at: int) -> _Row:
    return (*row[:at], *compressed(*row[at : at + 2]), *row[at + 2 :])


def _in_order(operations: Sequence[Put]) -> list[Put]:
    """Return what is not on disk yet, with what precedes, once each."""
    puts: dict[Put, None] = {}
    for one in operations:
        chain: list[Put] = []
        at: Put | None = one
        while at and not at.is_there and at not in puts:
            chain.append(at)
            at = at.after
        puts.update(dict.fromkeys(reversed(chain)))
    return list(puts)


def _parts(rows: Sequence[_Row]) -> Iterator[Sequence[_Row]]:
    """Yield the rows in few parts, of few different lengths."""
    done = 0
    while left := len(rows) - done:
        many = min(_MOST_ROWS, 1 << (left.bit_length() - 1))
        yield rows[done : done + many]
        done += many


@cache
def _inserting(into: str, rows: int, columns: int) -> str:
    one = f"({', '.join('?' * columns)})"
    return f"{into} VALUES {', '.join([one] * rows)}"
