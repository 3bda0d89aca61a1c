"""What stands in the files of a data directory, compressed or not."""

import sqlite3
from contextlib import closing
from pathlib import Path

from graphs.serialization import StrictSerializer

_ROWS = ("SELECT type, checkpoint FROM checkpoints", "SELECT type, value FROM writes")


def contents(data: Path) -> list[tuple[str, bytes]]:
    """Return every file with its bytes, and what every row of the checkpoints says once it is unpacked."""
    files = [(str(path), path.read_bytes()) for path in data.rglob("*") if path.is_file()]
    return files + [(str(data / "checkpoints.db"), repr(value).encode()) for value in _values(data)]


def _values(data: Path) -> list[object]:
    serde = StrictSerializer()
    with closing(sqlite3.connect(data / "checkpoints.db")) as database:
        return [serde.loads_typed(row) for query in _ROWS for row in database.execute(query)]
