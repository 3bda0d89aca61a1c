"""The one thread that writes to a file: many operations, one transaction, one sync to disk."""

import asyncio
from asyncio import AbstractEventLoop, Future
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from threading import Lock, Thread
from typing import Any, Generic, Protocol, TypeVar

from errors import StorageError

Op = TypeVar("Op")
Op_contra = TypeVar("Op_contra", contravariant=True)

_MOST_AT_ONCE = 256
"""Operations in one transaction, so that the first never waits long for the last."""


class Database(Protocol[Op_contra]):
    """What the thread writes to; every method is called in that thread alone."""

    closed: str
    """What whoever comes after the end is told, and what to do."""

    def commit(self, operations: Sequence[Op_contra]) -> Sequence[Any]:
        """Return their results once all are on disk; where it raises, nothing is.

        An operation may come again (when a neighbour fails, each is run by itself), so it must have no
        effect but on the database.
        """

    def is_nobodys(self, error: Exception) -> bool:
        """Tell whether an error is of the database as a whole: to run each by itself would not help."""

    def explained(self, error: Exception) -> Exception:
        """Return what whoever waits is told of an error."""

    def close(self) -> None:
        """Let go of it."""


class Writer(Generic[Op]):
    """Runs operations in the order they come; their results are there only when they are on disk."""

    def __init__(self, database: Database[Op], name: str) -> None:
        self._database = database
        self._jobs: deque[tuple[Op, Future[Any] | None]] = deque()
        self._guard = Lock()
        self._call = Lock()
        """Let go of to call the thread; it holds it while it has nothing to do."""
        self._call.acquire()
        self._called = False
        self._closed = False
        self._thread = Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, operation: Op) -> Future[Any]:
        """Queue an operation; its result is for the running event loop, and the write done without it, too.

        Raises:
            StorageError: the writer is closed.
        """
        future = asyncio.get_running_loop().create_future()
        self._put(operation, future)
        self.wake()
        return future

    def leave(self, operation: Op) -> None:
        """Queue an operation for which nobody waits, at the latest until `wake`; raises as `submit` does."""
        self._put(operation, None)

    def wake(self) -> None:
        """Let the thread write what is queued."""
        with self._guard:
            if not self._called:
                self._called = True
                self._call.release()

    @property
    def is_idle(self) -> bool:
        """Whether nothing is queued or being written."""
        return not (self._called or self._jobs)

    def close(self) -> None:
        """Write what is queued and end the thread; again is harmless; blocks."""
        with self._guard:
            self._closed = True
        self.wake()
        self._thread.join()

    def _put(self, operation: Op, future: Future[Any] | None) -> None:
        with self._guard:
            if self._closed:
                raise StorageError(self._database.closed)
            self._jobs.append((operation, future))

    def _run(self) -> None:
        while jobs := self._next_jobs():
            self._commit(jobs)
        self._database.close()

    def _next_jobs(self) -> list[tuple[Op, Future[Any] | None]]:
        """Return what is queued, at least one job; nothing when the writer is closed."""
        while True:
            with self._guard:
                if self._jobs:
                    return [self._jobs.popleft() for _ in range(min(len(self._jobs), _MOST_AT_ONCE))]
                if self._closed:
                    return []
                self._called = False
            self._call.acquire()

    def _commit(self, jobs: list[tuple[Op, Future[Any] | None]]) -> None:
        """Write in one transaction; where it fails, each by itself, so that only the guilty one fails."""
        try:
            results = self._database.commit([operation for operation, _ in jobs])
        except Exception as error:  # whatever it is, whoever waits for it is told
            if len(jobs) == 1 or self._database.is_nobodys(error):
                _tell((future, self._database.explained(error)) for _, future in jobs)
                return
            for job in jobs:
                self._commit([job])
        else:
            _tell((future, result) for (_, future), result in zip(jobs, results, strict=True))


def _tell(outcomes: Iterable[tuple[Future[Any] | None, Any]]) -> None:
    """Wake each event loop once, for all who wait there."""
    by_loop: dict[AbstractEventLoop, list[tuple[Future[Any], Any]]] = defaultdict(list)
    for future, outcome in outcomes:
        if future:
            by_loop[future.get_loop()].append((future, outcome))
    for loop, told in by_loop.items():
        with suppress(RuntimeError):  # it is closed: nobody waits there any more
            loop.call_soon_threadsafe(_settle, told)


def _settle(told: Iterable[tuple[Future[Any], Any]]) -> None:
    for future, outcome in told:
        if future.done():
            continue  # whoever waited was cancelled
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)
