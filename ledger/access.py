"""The database from any event loop: writes go to one thread, reads to a few."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from errors import StorageError
from ledger.database import explained
from ledger.writer import CLOSED, Writer

P = ParamSpec("P")
T = TypeVar("T")

_READERS = 4


class Access:
    """Runs operations on connections of an engine; every method but `close` may raise StorageError."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._writer = Writer(engine)
        self._readers = ThreadPoolExecutor(_READERS, "ledger-reader")

    def close(self) -> None:
        """Write what is queued and let go of the database; again is harmless; blocks."""
        self._writer.close()
        self._readers.shutdown()
        self._engine.dispose()

    def submit(
        self, operation: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> Future[T]:
        """Queue a write behind those before it."""
        return self._writer.submit(lambda connection: operation(connection, *args, **kwargs))

    def write(
        self, operation: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> asyncio.Future[T]:
        """Queue a write; its future is done when it, and all before it, is on disk.

        It gets there even if whoever awaits it is cancelled.
        """
        return asyncio.shield(asyncio.wrap_future(self.submit(operation, *args, **kwargs)))

    async def read(
        self, operation: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Return what is on disk now."""
        try:
            job = self._readers.submit(self._read, lambda connection: operation(connection, *args, **kwargs))
        except RuntimeError:  # the pool's way to say that it is shut down
            raise StorageError(CLOSED) from None
        return await asyncio.wrap_future(job)

    def _read(self, operation: Callable[[Connection], T]) -> T:
        try:
            with self._engine.connect() as connection:
                return operation(connection)
        except SQLAlchemyError as error:
            raise explained(error, self._engine.url) from error
