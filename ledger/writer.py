"""The one thread that writes: many operations, one transaction, one sync to disk."""

from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from errors import StorageError
from ledger.database import explained, writing

T = TypeVar("T")
_Job = tuple[Callable[[Connection], Any], Future[Any]]

CLOSED = "The ledger is closed: open it again."

_MOST_AT_ONCE = 256
"""Operations in one transaction, so that the first never waits long for the last."""


class Writer:
    """Runs operations in order; a future resolves only when its transaction is on disk.

    An operation may run twice (when a neighbour fails, each is run again by itself), so it must
    have no effect but on its connection.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = writing(engine)
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._lock = Lock()
        self._closed = False
        self._connection: Connection | None = None
        """Kept: to take one from the pool costs more than most transactions."""
        self._thread = Thread(target=self._run, name="ledger-writer", daemon=True)
        self._thread.start()

    def submit(self, operation: Callable[[Connection], T]) -> Future[T]:
        """Queue an operation, from any thread.

        Raises:
            StorageError: the writer is closed.
        """
        future: Future[T] = Future()
        with self._lock:
            if self._closed:
                raise StorageError(CLOSED)
            self._jobs.put((operation, future))
        return future

    def close(self) -> None:
        """Write what is queued and end the thread; blocks."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._jobs.put(None)
        self._thread.join()

    def _run(self) -> None:
        while jobs := self._next_jobs():
            self._commit([job for job in jobs if job[1].set_running_or_notify_cancel()])
        self._let_go()

    def _next_jobs(self) -> list[_Job]:
        """Return what is queued, at least one job; nothing when the writer is closed."""
        jobs: list[_Job] = []
        job = self._jobs.get()
        while job is not None:
            jobs.append(job)
            if len(jobs) == _MOST_AT_ONCE:
                return jobs
            try:
                job = self._jobs.get_nowait()
            except Empty:
                return jobs
        if jobs:
            self._jobs.put(None)
        return jobs

    def _commit(self, jobs: list[_Job]) -> None:
        try:
            connection = self._connection = self._connection or self._engine.connect()
            with connection.begin():
                results = [operation(connection) for operation, _ in jobs]
        except Exception as error:  # whatever it is, whoever awaits the job is told
            self._let_go()
            self._isolate(jobs, error)
            return
        for (_, future), result in zip(jobs, results, strict=True):
            future.set_result(result)

    def _let_go(self) -> None:
        connection, self._connection = self._connection, None
        if connection:
            with suppress(SQLAlchemyError):
                connection.close()

    def _isolate(self, jobs: list[_Job], error: Exception) -> None:
        """Run the jobs of a failed transaction one by one, so that only the guilty one fails."""
        if len(jobs) > 1:
            for job in jobs:
                self._commit([job])
        elif jobs:
            failure = explained(error, self._engine.url)
            if failure is not error:
                failure.__cause__ = error
            jobs[0][1].set_exception(failure)
