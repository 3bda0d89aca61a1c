"""What stands in the files of a data directory, compressed or not."""

import sqlite3
from contextlib import closing
from pathlib import Path

from storage.serializer import StrictSerializer

_ROWS = ("SELECT type, checkpoint FROM checkpoints", "SELECT type, value FROM writes")


def contents(data: Path) -> list[tuple[str, bytes]]:
    """Return every file with its bytes, and what is compressed in the databases as it reads."""
    files = [(str(path), path.read_bytes()) for path in data.rglob("*") if path.is_file()]
    return files + [(database, said.encode()) for database, said in (*_values(data), *_results(data))]


def _values(data: Path) -> list[tuple[str, str]]:
    serde = StrictSerializer()
    with closing(sqlite3.connect(data / "checkpoints.db")) as database:
        rows = [row for query in _ROWS for row in database.execute(query)]
    return [("checkpoints.db", repr(serde.loads_typed(row))) for row in rows]


def _results(data: Path) -> list[tuple[str, str]]:
    with closing(sqlite3.connect(data / "ledger.db")) as database:
        return [("ledger.db", text or "") for (text,) in database.execute("SELECT text FROM calls")]
