"""The ledger's database, from any event loop."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from base.errors import StorageError
from ledger.database import explained, writing
from storage.writer import Writer

P = ParamSpec("P")
T = TypeVar("T")
_Operation = Callable[[Connection], Any]

_CLOSED = "The ledger is closed: open it again."
_READERS = 4


class Access:
    """Runs reads in a few threads, writes in one; raises StorageError."""

    def __init__(self, engine: Engine, writer: Writer) -> None:
        self._engine = engine
        self._writes = writer.open(_Transactions(engine))
        self._readers = ThreadPoolExecutor(_READERS, "ledger-reader")
        self._left = self._waited = 0
        """Writes for which nobody waits, and how many of them are known to be on disk."""

    def close(self) -> None:
        """Write what is queued and close; again is harmless; blocks."""
        self._writes.close()
        self._readers.shutdown()
        self._engine.dispose()

    def leave(
        self, operation: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> None:
        """Queue a write that nobody waits for, before all later ones."""
        self._writes.leave(lambda connection: operation(connection, *args, **kwargs))
        self._left += 1

    def settled(self) -> asyncio.Future[None]:
        """Return a future: all that was left before is on disk."""
        return self.write(lambda _: None)

    def write(
        self, operation: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> asyncio.Future[T]:
        """Queue a write; its future is done once it is on disk.

        It gets there even if whoever awaits it is cancelled.
        """
        return self._writes.submit(lambda connection: operation(connection, *args, **kwargs))

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
        try:
            with self._engine.connect() as connection:
                return operation(connection)
        except SQLAlchemyError as error:
            raise explained(error, self._engine.url) from error


class _Transactions:
    """The ledger as what a writer writes to."""

    closed = _CLOSED

    def __init__(self, engine: Engine) -> None:
        self._engine = writing(engine)

    def commit(self, operations: Sequence[_Operation]) -> Sequence[Any]:
        with self._engine.begin() as connection:
            return [operation(connection) for operation in operations]

    def is_of_database(self, error: Exception) -> bool:
        return isinstance(error, OperationalError)

    def explained(self, error: Exception) -> Exception:
        return explained(error, self._engine.url)

    def close(self) -> None:
        """Leave the pool to whoever opened it."""
