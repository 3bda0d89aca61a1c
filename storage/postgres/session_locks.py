"""Advisory locks of one Postgres session; they end with their process.

The session is looked after: where it breaks, another takes its place, and the locks are taken again. One that
somebody else took meanwhile is lost, and whoever holds it is told.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg

from base.errors import BusyThreadError, StorageAwayError, StorageError
from storage.postgres.lock_keys import key_of
from storage.thread_lock import ThreadLocks

_CHECK_S = 2.0
"""Seconds between two looks at the session, and at the database's clock."""
_GRACE_S = 5.0
"""After a break, before a lock is taken that was not held before: first come those who held theirs."""
_AWAY_S = 15.0
"""Seconds that the database may be away before who waits for a turn is told."""
_TAKE = "SELECT pg_try_advisory_lock(%s)"
_PAUSE_S = 0.1
_log = logging.getLogger(__name__)

Connect = Callable[[], "psycopg.Connection[Any]"]


class Held:
    """A lock, taken once; `on_loss` is called from another thread."""

    def __init__(self, key: int) -> None:
        self.key = key
        self.is_lost = False
        self.on_loss: Callable[[], None] = _nobody

    def lose(self) -> None:
        """Say that it is somebody else's, after a break."""
        self.is_lost = True
        self.on_loss()


class SessionLocks:
    """The session; its methods block, and raise psycopg.Error."""

    def __init__(self, connect: Connect) -> None:
        """Connect, and begin to look after the session."""
        self._connect = connect
        self._guard = threading.RLock()
        self._held: dict[int, Held] = {}
        self._shared: set[int] = set()
        """Those that others may hold too."""
        self._not_before = 0.0
        self._clock = 0.0
        """The database's time, at this machine's monotonic 0."""
        self._session = connect()
        self._ended = threading.Event()
        self._look()
        threading.Thread(target=self._watch, name="session-locks", daemon=True).start()

    def close(self) -> None:
        """End the session, and with it its locks."""
        self._ended.set()
        with self._guard, suppress(psycopg.Error):
            self._session.close()

    def now(self) -> float:
        """Return the database's time in epoch seconds, without asking it."""
        return self._clock + time.monotonic()

    def once(self, work: Callable[["psycopg.Connection[Any]"], None]) -> None:
        """Run work on the session, while no other process does."""
        with self._guard:
            while not self._one(_TAKE, (key_of("setup"),)):  # see storage.postgres.connections
                time.sleep(_PAUSE_S)
            try:
                work(self._session)
            finally:
                self._one("SELECT pg_advisory_unlock(%s)", (key_of("setup"),))

    def share(self, key: int) -> None:
        """Hold a lock to the end, as others may too."""
        self._ask("SELECT pg_advisory_lock_shared(%s)", key)
        self._shared.add(key)

    def take(self, key: int) -> Held | None:
        """Take a lock, unless somebody has it."""
        with self._guard:
            if key in self._held or self._breaks_in() or not self._ask(_TAKE, key):
                return None
            held = Held(key)
            if self._breaks_in():  # while it was asked for, so whoever held it comes first
                self._unlock(key)
                return None
            self._held[key] = held
            return held

    def give_back(self, held: Held) -> None:
        """Let go of a lock; one that was lost is left."""
        with self._guard:
            if self._held.get(held.key) is held:
                del self._held[held.key]
                self._unlock(held.key)

    def is_taken(self, key: int) -> bool:
        """Tell whether anybody holds a lock."""
        return key in self._held or not self._ask("SELECT pg_try_advisory_xact_lock_shared(%s)", key)

    def _breaks_in(self) -> bool:
        return time.monotonic() < self._not_before

    def _unlock(self, key: int) -> None:
        with suppress(psycopg.Error):  # then it went with the session
            self._session.execute("SELECT pg_advisory_unlock(%s)", (key,))

    def _ask(self, question: str, key: int) -> Any:
        with self._guard:
            try:
                return self._one(question, (key,))
            except psycopg.OperationalError:
                self._renew()
                return self._one(question, (key,))

    def _one(self, question: str, values: tuple[Any, ...] = ()) -> Any:
        found = self._session.execute(question, values).fetchone()
        return found[0] if found else None

    def _watch(self) -> None:
        while not self._ended.wait(_CHECK_S):
            with self._guard:
                try:
                    self._look()
                except psycopg.Error as error:
                    with suppress(psycopg.Error):  # it is tried again with the next look
                        _log.warning("the session that holds the locks broke: %s", error)
                        self._renew()

    def _look(self) -> None:
        before = time.monotonic()
        there = float(self._one("SELECT extract(epoch FROM clock_timestamp())"))
        self._clock = there - (before + time.monotonic()) / 2

    def _renew(self) -> None:
        """Begin another session, and take the locks again."""
        if self._ended.is_set():
            return
        with suppress(psycopg.Error):
            self._session.close()
        self._session = self._connect()
        self._not_before = time.monotonic() + _GRACE_S
        for key in self._shared:
            self._one("SELECT pg_advisory_lock_shared(%s)", (key,))
        for key, held in list(self._held.items()):
            if not self._one(_TAKE, (key,)):
                del self._held[key]
                held.lose()
        self._look()


class AdvisoryLocks(ThreadLocks):
    """The locks of the threads of one Postgres database."""

    def __init__(self, session: SessionLocks, explained: Callable[[Exception], str], **options: Any) -> None:
        """`explained` says what an error of the database means."""
        super().__init__(**options)
        self._session = session
        self._explained = explained
        self._away_since: float | None = None

    def _take(self, thread_id: str) -> Held | None:
        try:
            taken = self._session.take(key_of(f"turn of {thread_id}"))
        except psycopg.Error as error:
            self._away_since = self._away_since or time.monotonic()
            if time.monotonic() - self._away_since > _AWAY_S:
                raise StorageAwayError(f"No turn can begin: {self._explained(error)}.") from error
            return None
        self._away_since = None
        return taken

    def _release(self, thread_id: str, held: Held) -> None:  # noqa: ARG002 (its key stands for it)
        self._session.give_back(held)

    def _is_held(self, thread_id: str) -> bool:
        try:
            return self._session.is_taken(key_of(f"turn of {thread_id}"))
        except psycopg.Error as error:
            raise StorageError(
                f"Whether a turn is under way is not known: {self._explained(error)}."
            ) from error

    @contextmanager
    def _told_of_loss(self, thread_id: str, held: Held) -> Iterator[None]:
        task, loop, is_within, stopped = asyncio.current_task(), asyncio.get_running_loop(), True, False

        def stop() -> None:
            nonlocal stopped
            if is_within and task and not stopped:
                stopped = task.cancel()

        def tell() -> None:
            with suppress(RuntimeError):  # its loop is closed
                loop.call_soon_threadsafe(stop)

        held.on_loss = tell
        try:
            if held.is_lost:  # before anybody could be told
                raise _taken_over(thread_id)
            yield
        except asyncio.CancelledError:
            if not stopped or (task and task.uncancel()):  # somebody else cancels it, too
                raise
            raise _taken_over(thread_id) from None
        finally:
            is_within = False


def _taken_over(thread_id: str) -> BusyThreadError:
    return BusyThreadError(
        f"The turn of thread {thread_id!r} was stopped: while the database was away, another process took it "
        "over."
    )


def _nobody() -> None: ...
