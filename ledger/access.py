"""The ledger's database, from any event loop."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Concatenate, NamedTuple, ParamSpec, TypeVar

from sqlalchemy import Connection

from base.errors import StorageError
from storage.engine import SqlDatabase
from storage.writer import Writer

P = ParamSpec("P")
T = TypeVar("T")

_CLOSED = "The ledger is closed: open it again."
_MOST_READERS = 4


class Access:
    """Runs reads in a few threads, writes in one; raises StorageError.

    A write says first what it works on, such as a thread: no other process's write of the same comes between
    its reading and its writing. Nothing: it neither reads what it writes nor minds others.
    """

    def __init__(self, database: SqlDatabase, writer: Writer) -> None:
        self._database = database
        self._writes = writer.open(_Transactions(database))
        self._readers = ThreadPoolExecutor(_MOST_READERS, "ledger-reader")
        self._left = self._waited = 0
        """Writes for which nobody waits, and how many of them are known to be on disk."""

    def close(self) -> None:
        """Write what is queued and close; again is harmless; blocks."""
        self._writes.close()
        self._readers.shutdown()
        self._database.close()

    def leave(
        self, on: str, operation: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> None:
        """Queue a write that nobody waits for, before all later ones."""
        self._writes.leave(_Operation(on, lambda connection: operation(connection, *args, **kwargs)))
        self._left += 1

    def settled(self) -> asyncio.Future[None]:
        """Return a future: all that was left before is on disk."""
        return self.write("", lambda _: None)

    def write(
        self, on: str, operation: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> asyncio.Future[T]:
        """Queue a write; its future is done once it is on disk.

        It gets there even if whoever awaits it is cancelled.
        """
        return self._writes.submit(_Operation(on, lambda connection: operation(connection, *args, **kwargs)))

    async def read(
        self, operation: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Return what is on disk, all that was written here before included."""
        if self._waited < (left := self._left):
            await self.settled()
            self._waited = max(self._waited, left)
        try:
            job = self._readers.submit(self._read, lambda connection: operation(connection, *args, **kwargs))
        except RuntimeError:  # the pool's way to say that it is shut down
            raise StorageError(_CLOSED) from None
        return await asyncio.wrap_future(job)

    def _read(self, operation: Callable[[Connection], T]) -> T:
        with self._database.explaining():
            return self._database.read(operation)


class _Operation(NamedTuple):
    on: str
    run: Callable[[Connection], Any]


class _Transactions:
    """The ledger as what a writer writes to."""

    closed = _CLOSED

    def __init__(self, database: SqlDatabase) -> None:
        self._database = database
        self.is_of_database = database.is_outage
        self.explained = database.explained

    def commit(self, operations: Sequence[_Operation]) -> Sequence[Any]:
        alone = {each.on for each in operations if each.on}
        return self._database.change(lambda connection: [each.run(connection) for each in operations], alone)

    def close(self) -> None:
        """Leave the connections to whoever opened them."""
