"""The one thread that writes; what comes together shares a transaction."""

import asyncio
import logging
from asyncio import AbstractEventLoop, Future
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from threading import Condition, Event, Thread
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from base.errors import StorageError

Op = TypeVar("Op")
Op_contra = TypeVar("Op_contra", contravariant=True)

GATHER_S = 0.01
"""Seconds that what nobody waits for is held back, at most, so that what follows can go with it."""
MOST_AT_ONCE = 256
"""Operations in one transaction, so that the first never waits long for the last."""
_log = logging.getLogger(__name__)


class Database(Protocol[Op_contra]):
    """What the thread writes to; called in that thread alone."""

    closed: str
    """What whoever comes after the end is told, and what to do."""

    def commit(self, operations: Sequence[Op_contra]) -> Sequence[Any]:
        """Return results once all are on disk; if it raises, none is.

        An operation may come again (when a neighbour fails, each is run by itself), so it must have no
        effect but on the database.
        """

    def is_of_database(self, error: Exception) -> bool:
        """Tell whether an error is the database's, not one operation's."""

    def explained(self, error: Exception) -> Exception:
        """Return what whoever waits is told of an error."""

    def close(self) -> None:
        """Let go of it."""


class Writer:
    """Runs operations in the order they come.

    It writes to several databases in the order in which they were opened. So what is on disk of the second
    never speaks of anything that the first was given before, and does not have.
    """

    def __init__(self, name: str, gather_s: float = GATHER_S, most_at_once: int = MOST_AT_ONCE) -> None:
        """Begin the thread; see `GATHER_S` and `MOST_AT_ONCE`."""
        self._gather_s = gather_s
        self._most_at_once = most_at_once
        self._jobs: list[_Job] = []
        self._lanes: list[Lane[Any]] = []
        self._changed = Condition()
        self._is_waited_for = False
        """Somebody waits for a job that is queued."""
        self._thread = Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def open(self, database: Database[Op]) -> "Lane[Op]":
        """Return one more lane; once the last is closed, the thread ends."""
        with self._changed:
            lane = Lane(self, database)
            self._lanes.append(lane)
        return lane

    def put(self, job: "_Job", *, waited_for: bool) -> None:
        """Queue a job; see `Lane`."""
        with self._changed:
            if job.lane.is_closed:
                raise StorageError(job.lane.database.closed)
            job.lane.is_closed = job.is_last
            self._jobs.append(job)
            self._is_waited_for |= waited_for
            if waited_for or len(self._jobs) == 1:
                self._changed.notify()

    def _run(self) -> None:
        while jobs := self._next_jobs():
            for start in range(0, len(jobs), self._most_at_once):
                self._write(jobs[start : start + self._most_at_once])

    def _next_jobs(self) -> "list[_Job]":
        """Return what has come; empty: all is closed."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._jobs or (self._lanes and all(lane.is_closed for lane in self._lanes))
            )
            if self._jobs:
                self._changed.wait_for(lambda: self._is_waited_for, timeout=self._gather_s)
            self._is_waited_for = False
            jobs, self._jobs = self._jobs, []
        return jobs

    def _write(self, jobs: "Sequence[_Job]") -> None:
        for lane in self._lanes:
            mine = [job for job in jobs if job.lane is lane]
            if writes := [job for job in mine if not job.is_last]:
                _commit(lane.database, writes)
            if len(writes) < len(mine):
                lane.database.close()
                lane.ended.set()


class Lane(Generic[Op]):
    """The queue of one database; results come once on disk."""

    def __init__(self, writer: Writer, database: Database[Op]) -> None:
        self.database = database
        self.is_closed = False
        self.ended = Event()
        self._writer = writer

    def submit(self, operation: Op) -> Future[Any]:
        """Queue an operation; its result is for the running event loop.

        Raises:
            StorageError: the lane is closed.
        """
        future = asyncio.get_running_loop().create_future()
        self._writer.put(_Job(self, operation, future), waited_for=True)
        return future

    def leave(self, operation: Op) -> None:
        """Queue an operation nobody waits for, before all submitted later.

        Raises as `submit` does. What goes wrong later is logged.
        """
        self._writer.put(_Job(self, operation), waited_for=False)

    def close(self) -> None:
        """Write what is queued and close; again is harmless; blocks."""
        with suppress(StorageError):
            self._writer.put(_Job(self, None, is_last=True), waited_for=True)
        self.ended.wait()


class _Job(NamedTuple):
    lane: Lane[Any]
    operation: Any
    future: Future[Any] | None = None
    is_last: bool = False
    """After it, the database is closed."""


def _commit(database: Database[Any], jobs: Sequence[_Job]) -> None:
    """Write in one transaction; where it fails, each by itself."""
    try:
        results = database.commit([job.operation for job in jobs])
    except Exception as error:  # whatever it is, whoever waits for it is told
        if len(jobs) > 1 and not database.is_of_database(error):
            for job in jobs:
                _commit(database, [job])
            return
        explained = database.explained(error)
        if explained is not error:
            explained.__cause__ = error
        if any(job.future is None for job in jobs):
            _log.error("what nobody waited for was not written: %s", explained)
        _tell((job.future, explained) for job in jobs)
    else:
        _tell((job.future, result) for job, result in zip(jobs, results, strict=True))


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
