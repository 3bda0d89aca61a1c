"""The SQL database that is shared: a SQLite file, or Postgres."""

import re
import sqlite3
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from base.errors import StorageError
from storage.sqlite import configure, create_private, make_private, why
from storage.thread_lock import ThreadLocks

T = TypeVar("T")
Work = Callable[[Connection], T]


class SqlDatabase:
    """A database that any number of threads and processes use.

    Work may be run again, where another's got in its way: it must have no effect but on the database.
    """

    kind = "ledger"
    """What it is, as people are told."""

    def __init__(self, engine: Engine, name: str) -> None:
        self.engine = engine
        self.name = name
        """As people are told."""

    def change(self, work: Work[T], alone: Collection[str] = ()) -> T:
        """Run work in one transaction; it is on disk on return; blocks.

        `alone` names what no other transaction that names it too works on meanwhile.
        """
        raise NotImplementedError

    def read(self, work: Work[T]) -> T:
        """Run work that sees one moment and changes nothing; blocks."""
        raise NotImplementedError

    def now(self) -> float:
        """Return the time that all its users agree on, in epoch seconds."""
        raise NotImplementedError

    def announce(self, presence: str) -> None:
        """Let others know that this process lives, under a name."""

    def thread_locks(self) -> ThreadLocks:
        """Return the locks of all threads, where the database has them."""
        raise NotImplementedError

    def is_outage(self, error: Exception) -> bool:
        """Tell whether an error is the database's, not one operation's."""
        raise NotImplementedError

    def why(self, error: Exception) -> str:
        """Return an error's meaning, and what to do."""
        raise NotImplementedError

    def explained(self, error: Exception) -> Exception:
        """Return a database error as a StorageError; others as they are."""
        if isinstance(error, OSError | ImportError | SQLAlchemyError):
            return StorageError(f"The {self.kind} {self.name} cannot be used: {self.why(error)}.")
        return error

    @contextmanager
    def explaining(self) -> Iterator[None]:
        """Raise a database error as a StorageError."""
        try:
            yield
        except Exception as error:
            explained = self.explained(error)
            if explained is error:
                raise
            raise explained from error

    def close(self) -> None:
        """Let go of it; again is harmless; blocks."""
        self.engine.dispose()


def open_database(place: Path | str, prepare: Work[None]) -> SqlDatabase:
    """Open or create a database and have its tables prepared; blocks.

    `place` is a file's path, or a URL.

    Raises:
        StorageError: it cannot be used; the message says why and what to do.
    """
    if not re.match(r"postgres(ql)?(\+\w+)?://", text := str(place)):
        return SqliteDatabase(_url(place), prepare)
    try:
        from storage.postgres.postgres_database import PostgresDatabase, postgres_url
    except ImportError:
        raise StorageError(
            "Postgres needs its extra. In twobrain's folder: pip install -c constraints.txt -e '.[postgres]'"
        ) from None
    return PostgresDatabase(postgres_url(text), prepare)


class SqliteDatabase(SqlDatabase):
    """A file of its owner's alone, with SQLite's one lock for writing."""

    def __init__(self, url: URL, prepare: Work[None]) -> None:
        super().__init__(create_engine(url, hide_parameters=True, pool_pre_ping=False), str(url.database))
        self._writing = self.engine.execution_options(writes=True)
        path = Path(str(url.database))
        event.listen(self.engine, "connect", _configure)
        event.listen(self.engine, "begin", _begin)
        try:
            create_private(path)  # before SQLite does: its -wal and -shm files take over this one's mode
            self.change(prepare)
            make_private(path)
        except (OSError, SQLAlchemyError, StorageError) as error:
            self.close()
            raise self.explained(error) from error

    def change(self, work: Work[T], alone: Collection[str] = ()) -> T:  # noqa: ARG002 (one writes at a time)
        """Run work in one transaction; it is on disk on return; blocks."""
        with self._writing.begin() as connection:
            return work(connection)

    def read(self, work: Work[T]) -> T:
        """Run work that sees one moment and changes nothing; blocks."""
        with self.engine.connect() as connection:
            return work(connection)

    def now(self) -> float:
        """Return this machine's time: all its users are on it."""
        return time.time()

    def is_outage(self, error: Exception) -> bool:
        """Tell whether an error is the database's, not one operation's."""
        return isinstance(error, OperationalError)

    def why(self, error: Exception) -> str:
        """Return an error's meaning, and what to do."""
        return why(error)


def _url(place: Path | str) -> URL:
    if "://" not in str(place):
        return URL.create("sqlite", database=str(Path(place).absolute()))
    try:
        url = make_url(str(place))
    except (SQLAlchemyError, ValueError):
        raise StorageError(
            "The database's URL cannot be read: give it as postgresql://user:password@host:5432/name."
        ) from None
    if url.get_backend_name() != "sqlite":
        raise StorageError(
            f"A database of the kind {url.get_backend_name()!r} is not known: give a URL that begins with "
            "postgresql://, or none for SQLite's files."
        )
    if url.database in {None, "", ":memory:"}:
        raise StorageError("A ledger in memory cannot be shared between threads: name a file.")
    return url


def _configure(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # or Python's driver would begin transactions by itself
    configure(connection)


def _begin(connection: Connection) -> None:
    writes: Any = connection.get_execution_options().get("writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
