"""Open the ledger's database, and bring its tables up to date."""

import sqlite3
from pathlib import Path

from sqlalchemy import URL, Connection, Engine, create_engine, delete, event, inspect, make_url, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from base.errors import StorageError
from ledger.tables import MIGRATIONS, OLDEST, VERSION, metadata, schema
from storage.sqlite import configure, create_private, make_private, why


def open_engine(database: Path | str) -> Engine:
    """Open or create a database and its tables; blocks.

    Raises:
        StorageError: it cannot be used; the message says why and what to do.
    """
    url = _url(database)
    try:
        engine = create_engine(url, hide_parameters=True, pool_pre_ping=not _is_sqlite(url))
    except (ImportError, SQLAlchemyError) as error:
        raise explained(error, url) from error
    try:
        if _is_sqlite(url):
            # Before SQLite does: its -wal and -shm files take over this one's mode.
            create_private(Path(str(url.database)))
            event.listen(engine, "connect", _configure)
            event.listen(engine, "begin", _begin)
        with writing(engine).begin() as connection:
            _prepare_tables(connection)
        if _is_sqlite(url):
            make_private(Path(str(url.database)))
    except (OSError, SQLAlchemyError, StorageError) as error:
        engine.dispose()
        raise explained(error, url) from error
    return engine


def stored_version(database: Path | str) -> int | None:
    """Return the schema that a database has; None: none yet; blocks.

    Raises:
        StorageError: it cannot be read.
    """
    url = _url(database)
    if _is_sqlite(url) and not Path(str(url.database)).exists():
        return None
    try:
        with create_engine(url, hide_parameters=True, poolclass=NullPool).connect() as connection:
            return _version(connection)
    except (OSError, ImportError, SQLAlchemyError) as error:
        raise explained(error, url) from error


def writing(engine: Engine) -> Engine:
    """Return the engine with transactions that write, on the same pool."""
    return engine.execution_options(writes=True)


def explained(error: Exception, url: URL) -> Exception:
    """Return a database error as a StorageError; others as they are."""
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


def _configure(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # or Python's driver would begin transactions by itself
    configure(connection)


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _prepare_tables(connection: Connection) -> None:
    found = _version(connection)
    if found == VERSION:
        return
    if found is None and set(inspect(connection).get_table_names()) & metadata.tables.keys():
        raise _unknown(connection.engine.url, "tables of an unknown layout")
    if found is not None and not OLDEST <= found <= VERSION:
        raise _unknown(connection.engine.url, f"schema {found}")
    for version, change in MIGRATIONS:
        if found is not None and found < version:
            connection.exec_driver_sql(change)
    metadata.create_all(connection)
    connection.execute(delete(schema))
    connection.execute(schema.insert().values(id=1, version=VERSION))


def _version(connection: Connection) -> int | None:
    if not inspect(connection).has_table(schema.name):
        return None
    found: int | None = connection.scalar(select(schema.c.version))
    return found


def _unknown(url: URL, layout: str) -> StorageError:
    return StorageError(
        f"The ledger {_name(url)} has {layout}, and this twobrain knows schema {VERSION} at most. It is of a "
        "newer one, or of before 0.1.0 and not read any more: update twobrain, or use another data directory."
    )
