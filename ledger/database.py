"""Open the ledger's database, and bring its tables up to date."""

from pathlib import Path

from sqlalchemy import Connection, delete, inspect, select

from base.errors import StorageError
from ledger.tables import MIGRATIONS, OLDEST, VERSION, schema
from storage.engine import SqlDatabase, open_database
from storage.shared_tables import metadata


def open_ledger_database(place: Path | str) -> SqlDatabase:
    """Open the database, and its tables, at a path or URL; blocks.

    Raises:
        StorageError: it cannot be used; the message says why and what to do.
    """
    return open_database(place, _prepare_tables)


def _prepare_tables(connection: Connection) -> None:
    there = set(inspect(connection).get_table_names())
    found = connection.scalar(select(schema.c.version)) if schema.name in there else None
    if found == VERSION:
        return
    if found is None and there & metadata.tables.keys():
        raise _unknown(connection, "tables of an unknown layout")
    if found is not None and not OLDEST <= found <= VERSION:
        raise _unknown(connection, f"schema {found}")
    for version, change in MIGRATIONS:
        if found is not None and found < version:
            connection.exec_driver_sql(change)
    metadata.create_all(connection)
    connection.execute(delete(schema))
    connection.execute(schema.insert().values(id=1, version=VERSION))


def _unknown(connection: Connection, layout: str) -> StorageError:
    return StorageError(
        f"The ledger {connection.engine.url.database} has {layout}, and this twobrain knows schema {VERSION} "
        "at most. It is of a newer one, or of before 0.1.0 and not read any more: update twobrain, or use "
        "another data directory or database."
    )
