"""Opening the ledger's database; what is particular to SQLite stands here and nowhere else."""

import errno
import sqlite3
import time
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect, make_url, select
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from base.errors import StorageError
from ledger.tables import COLUMNS_ADDED, VERSION, insert, metadata, schema, usage_by_day
from storage.private import create_private

BUSY_S = 30
"""Seconds to wait for another process's transaction."""

_RETRY_S = 0.01

_FULL = "the disk is full; free some space and try again"
_DAMAGED = "it is damaged or not a database; put back a copy, or move it away and do without what it held"
_ELSEWHERE = "set TWOBRAIN_DATA_DIR to a directory that is yours"
_MEND = f"make it and its directory writable, or {_ELSEWHERE}"
_CLOSED = f"it cannot be written; {_MEND}"
_BUSY = f"another process has locked it for {BUSY_S} s; end that process or try again later"
_ADVICE = {
    "SQLITE_FULL": _FULL,
    "SQLITE_NOTADB": _DAMAGED,
    "SQLITE_CORRUPT": _DAMAGED,
    "SQLITE_READONLY": _CLOSED,
    "SQLITE_CANTOPEN": _CLOSED,
    "SQLITE_PERM": _CLOSED,
    "SQLITE_BUSY": _BUSY,
    "SQLITE_LOCKED": _BUSY,
}


def open_engine(database: Path | str) -> Engine:
    """Open or create the database of a path or URL and its tables; blocks.

    Raises:
        StorageError: it cannot be used; the message says why and what to do.
    """
    url = _url(database)
    try:
        engine = create_engine(url, hide_parameters=True, pool_pre_ping=True)
    except (ImportError, SQLAlchemyError) as error:
        raise explained(error, url) from error
    try:
        if _is_sqlite(url):
            _prepare_file(engine)
        with writing(engine).begin() as connection:
            _prepare_tables(connection)
        if _is_sqlite(url):
            make_private(Path(str(url.database)))
    except (OSError, SQLAlchemyError, StorageError) as error:
        engine.dispose()
        raise explained(error, url) from error
    return engine


def writing(engine: Engine) -> Engine:
    """Return the engine whose transactions take the write lock at once, on the same pool."""
    return engine.execution_options(writes=True)


def explained(error: Exception, url: URL) -> Exception:
    """Return the StorageError that tells a person what a database error means; others as they are."""
    if isinstance(error, OSError | ImportError | SQLAlchemyError):
        return StorageError(f"The ledger {_name(url)} cannot be used: {why(error)}.")
    return error


def _url(database: Path | str) -> URL:
    if "://" not in str(database):
        return URL.create("sqlite", database=str(Path(database).absolute()))
    try:
        url = make_url(str(database))
    except (SQLAlchemyError, ValueError):
        raise StorageError("The ledger's URL cannot be read: give it as driver://user@host/name.") from None
    if _is_sqlite(url) and url.database in {None, "", ":memory:"}:
        raise StorageError("A ledger in memory cannot be shared between threads: name a file.")
    return url


def _is_sqlite(url: URL) -> bool:
    return url.get_backend_name() == "sqlite"


def _name(url: URL) -> str:
    return str(url.database) if _is_sqlite(url) else url.render_as_string(hide_password=True)


def why(error: Exception) -> str:
    """Return what an error of a database or its file means, and what to do."""
    cause: Any = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(cause, FileExistsError | NotADirectoryError):
        return f"a file stands where its directory should be; {_ELSEWHERE}"
    if isinstance(cause, OSError):
        return _FULL if cause.errno in {errno.ENOSPC, errno.EDQUOT} else f"{cause.strerror}; {_MEND}"
    known = getattr(cause, "sqlite_errorname", None) or ""
    for name, advice in _ADVICE.items():
        if known.startswith(name):
            return advice
    return str(cause).rstrip(".")


def _prepare_file(engine: Engine) -> None:
    path = Path(str(engine.url.database))
    create_private(path)  # before SQLite does: its -wal and -shm files take over this one's mode
    event.listen(engine, "connect", _configure)
    event.listen(engine, "begin", _begin)


def _configure(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # or Python's driver would begin transactions by itself
    connection.execute(f"PRAGMA busy_timeout={BUSY_S * 1000}")
    switch_to_wal(connection)
    connection.execute("PRAGMA synchronous=FULL")


def switch_to_wal(connection: sqlite3.Connection) -> None:
    """Wait for another process that opens the same new file: SQLite itself does not, for this one step.

    Raises:
        sqlite3.OperationalError: it took too long.
    """
    deadline = time.monotonic() + BUSY_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(_RETRY_S)
        else:
            return


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def make_private(path: Path) -> None:
    """Narrow what an older or foreign hand left open to others."""
    for file in (path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")):
        if file.exists():
            file.chmod(0o600)


def _prepare_tables(connection: Connection) -> None:
    found = None
    if inspect(connection).has_table(schema.name):
        found = connection.scalar(select(schema.c.version))
    if found == VERSION:
        return
    if found is not None and found > VERSION:
        raise StorageError(
            f"The ledger {_name(connection.engine.url)} has schema {found}, and this twobrain knows "
            f"up to {VERSION}: update twobrain, or use another data directory."
        )
    for version, change in COLUMNS_ADDED:
        if found is not None and found < version:
            connection.exec_driver_sql(change)
    metadata.create_all(connection)
    usage_by_day.create(connection, checkfirst=True)
    newest = insert(connection.dialect, schema).values(id=1, version=VERSION)
    connection.execute(newest.on_conflict_do_update(index_elements=["id"], set_={"version": VERSION}))
