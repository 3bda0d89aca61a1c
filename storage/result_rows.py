"""Long results as rows of the database that all processes share."""

from collections.abc import Collection

from sqlalchemy import Connection, LargeBinary, delete, func, select, type_coerce

from storage.engine import SqlDatabase
from storage.long_results import (
    LONGEST_CHARACTER,
    LongResult,
    LongResults,
    Piece,
    content_of,
    is_handle,
    is_untrusted,
    name_of,
    piece_of,
)
from storage.shared_tables import insert
from storage.shared_tables import long_results as rows

_KEY = ("person", "digest", "untrusted")
_FARTHEST_BYTE = 2**30
"""Bytes from the start: Postgres keeps no value of more."""


class ResultRows(LongResults):
    """A table of stored results."""

    def __init__(self, database: SqlDatabase) -> None:
        super().__init__()
        self._database = database

    def _put(self, user: str, text: str, *, untrusted: bool) -> LongResult:
        content, result = content_of(text, untrusted=untrusted)
        person, _ = name_of(user, result.sha256)
        at = self._database.now()

        row = {"person": person, "digest": result.sha256, "untrusted": untrusted, "stored_at": at}

        def put(connection: Connection) -> None:
            marked = rows.update().where(*(rows.c[name] == row[name] for name in _KEY)).values(stored_at=at)
            if not connection.execute(marked).rowcount:  # else it is stored, and now again
                added = insert(connection.dialect, rows).values(**row, content=content)
                again = added.on_conflict_do_update(index_elements=_KEY, set_={"stored_at": at})
                connection.execute(again)

        with self._database.explaining():
            self._database.change(put)
        return result

    def _read(self, user: str, handle: str, start: int, count: int) -> Piece:
        if not is_handle(handle):
            raise LookupError(handle)
        person, digits = name_of(user, handle)
        part = func.substr(rows.c.content, min(start, _FARTHEST_BYTE) + 1, count + LONGEST_CHARACTER)
        found = (
            select(type_coerce(part, LargeBinary), func.length(rows.c.content))
            .where(
                rows.c.person == person,
                rows.c.digest.startswith(digits),
                rows.c.untrusted == is_untrusted(handle),
            )
            .order_by(rows.c.digest)
            .limit(1)
        )
        with self._database.explaining():
            row = self._database.read(lambda connection: connection.execute(found).one_or_none())
        if row is None:
            raise LookupError(handle)
        return piece_of(bytes(row[0]), start, count, row[1])

    def _sweep(self, needed: Collection[tuple[str, str]], before: float) -> int:
        old = select(rows.c.person, rows.c.digest).where(rows.c.stored_at < before)

        def sweep(connection: Connection) -> int:
            gone = 0
            for person, digest in connection.execute(old).all():
                if (person, name_of("", digest)[1]) not in needed:
                    its = (rows.c.person == person, rows.c.digest == digest, rows.c.stored_at < before)
                    gone += connection.execute(delete(rows).where(*its)).rowcount
            return gone

        with self._database.explaining():
            return self._database.change(sweep)
