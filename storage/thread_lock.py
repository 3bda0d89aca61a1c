"""Locks: one turn of a thread at a time, across processes.

In a process they queue in the order they came. Between processes a file for each turn that runs is locked,
and holds the process's id; with Postgres an advisory lock is taken (storage.postgres.session_locks). Either
goes when its process ends, however it ends: a dead process blocks nobody. On Windows, without Postgres, turns
queue in a process alone.

Each turn that runs holds a file open. So that a crowd leaves files for all else, no more run at once than
half of the files that a process may open; further ones wait.
"""

import asyncio
import hashlib
import os
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    nullcontext,
    suppress,
)
from functools import partial
from math import inf
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from base.errors import BusyThreadError
from storage.sqlite import explained

if os.name == "posix":
    import fcntl
    import resource

_PATIENCE_S = 600
"""To wait for another process's turn."""
_FIRST_POLL_S, _LAST_POLL_S = 0.01, 0.25


class ThreadLocks(ABC):
    """The locks of all threads; its worker thread touches what is shared.

    A server's event loop may not wait for a disk.
    """

    def __init__(self, patience_s: float = _PATIENCE_S) -> None:
        """`patience_s` are seconds to wait for another process's turn."""
        self._patience_s = patience_s
        self._here: WeakValueDictionary[tuple[int, str], asyncio.Lock] = WeakValueDictionary()
        """By event loop and thread."""
        self._moves: WeakValueDictionary[str, _Moves] = WeakValueDictionary()
        self._worker = ThreadPoolExecutor(1, "thread-locks")

    def watch_turns(self, thread_id: str) -> Callable[[], bool]:
        """Return what tells whether a turn began or ended here since.

        An answer came before what such a turn asks, however long its own reading took.
        """
        moves = self._moves.setdefault(thread_id, _Moves())
        before = moves.count
        return lambda: moves.count != before

    @asynccontextmanager
    async def of(self, thread_id: str, patience_s: float | None = None) -> AsyncIterator[None]:
        """Lock a thread, waiting for those before.

        Raises:
            BusyThreadError: another process is still at it when the patience ends, or took it over while the
                database was away.
            StorageError: the locks cannot be used.
        """
        patience = self._patience_s if patience_s is None else patience_s
        here = self._here.setdefault((id(asyncio.get_running_loop()), thread_id), asyncio.Lock())
        if here.locked() and not patience:
            raise self._busy(thread_id, patience)
        async with here:
            held = await self._wait(thread_id, patience)
            try:
                with self._told_of_loss(thread_id, held):
                    self._moved(thread_id)
                    yield
            finally:
                self._moved(thread_id)
                released = self._worker.submit(self._release, thread_id, held)
                await asyncio.shield(asyncio.wrap_future(released))

    def _moved(self, thread_id: str) -> None:
        if moves := self._moves.get(thread_id):
            moves.count += 1

    def at_once(self, thread_id: str) -> AbstractAsyncContextManager[None]:
        """Lock a thread now or not at all; raises as `of` does."""
        return self.of(thread_id, 0)

    async def is_held(self, thread_id: str) -> bool:
        """Tell whether a thread is locked, here or in another process."""
        here = self._here.get((id(asyncio.get_running_loop()), thread_id))
        if here and here.locked():
            return True
        return await asyncio.wrap_future(self._worker.submit(self._is_held, thread_id))

    @abstractmethod
    def _take(self, thread_id: str) -> Any:
        """Return what stands for the lock; None where another holds it; blocks."""

    @abstractmethod
    def _release(self, thread_id: str, held: Any) -> None:
        """Let go of a lock; blocks."""

    @abstractmethod
    def _is_held(self, thread_id: str) -> bool:
        """Tell whether anybody holds a lock; blocks."""

    def _holder(self, thread_id: str) -> str:  # noqa: ARG002 (what another kind knows by it)
        """Return who holds a lock, as people are told."""
        return "which one is not known"

    def _told_of_loss(
        self,
        thread_id: str,  # noqa: ARG002
        held: Any,  # noqa: ARG002 (a file's lock is never lost)
    ) -> AbstractContextManager[None]:
        """Have what runs within stopped where its lock is lost."""
        return nullcontext()

    async def _wait(self, thread_id: str, patience_s: float) -> Any:
        deadline, pause = time.monotonic() + patience_s, _FIRST_POLL_S
        while True:
            held = await self._taken(thread_id)
            if held is not None:
                return held
            if time.monotonic() >= deadline:
                raise self._busy(thread_id, patience_s)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LAST_POLL_S)

    async def _taken(self, thread_id: str) -> Any:
        taken = self._worker.submit(self._take, thread_id)
        try:
            return await asyncio.wrap_future(taken)
        except asyncio.CancelledError:
            taken.add_done_callback(
                partial(self._give_back, thread_id)
            )  # it may have been taken all the same
            raise

    def _give_back(self, thread_id: str, taken: Future[Any]) -> None:
        if not taken.cancelled() and not taken.exception() and (held := taken.result()) is not None:
            self._worker.submit(self._release, thread_id, held)

    def _busy(self, thread_id: str, patience_s: float) -> BusyThreadError:
        return BusyThreadError(
            f"Thread {thread_id!r} is at work in another process ({self._holder(thread_id)}), "
            f"and was not done after {patience_s:g} s. Try again later, or end that process."
        )


class _Moves:
    """How often turns of a thread began or ended here."""

    count = 0


class FileLocks(ThreadLocks):
    """A locked file for each thread of one data directory."""

    def __init__(self, folder: Path, patience_s: float = _PATIENCE_S) -> None:
        super().__init__(patience_s)
        self.folder = folder
        self._files = 0
        """Held open; counted in the worker's thread."""

    def _take(self, thread_id: str) -> int | None:
        if self._files >= _most_files():
            return None
        with explained(f"The folder {str(self.folder)!r}"):
            descriptor = take_file(self._path(thread_id), str(os.getpid()))
        self._files += descriptor is not None
        return descriptor

    def _release(self, thread_id: str, held: int) -> None:
        self._files -= 1
        _release(self._path(thread_id), held)

    def _is_held(self, thread_id: str) -> bool:
        try:
            descriptor = os.open(self._path(thread_id), os.O_RDWR)
        except OSError:
            return False
        try:
            return not _lock(descriptor)
        finally:
            os.close(descriptor)

    def _holder(self, thread_id: str) -> str:
        try:
            return f"process {int(self._path(thread_id).read_text())}"
        except (OSError, ValueError):
            return super()._holder(thread_id)

    def _path(self, thread_id: str) -> Path:
        return self.folder / hashlib.sha256(thread_id.encode("utf-8", "surrogatepass")).hexdigest()


def _most_files() -> float:
    if os.name != "posix":
        return inf
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return inf if soft == resource.RLIM_INFINITY else max(1, soft // 2)


def take_file(path: Path, holder: str) -> int | None:
    """Lock a file that names its holder until this process ends; blocks.

    Returns:
        Its descriptor; None where another holds it.

    Raises:
        OSError: it can be neither created nor opened.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    if not (_lock(descriptor) and _is_at(descriptor, path)):
        os.close(descriptor)
        return None
    with suppress(OSError):  # the disk is full: the lock holds all the same
        os.ftruncate(descriptor, 0)
        os.write(descriptor, holder.encode())
    return descriptor


def _release(path: Path, descriptor: int) -> None:
    """Delete the file while it is locked; others open the next one.

    One that cannot be taken away is in nobody's way: it is not locked any more. One that is another's, for
    somebody took ours away before, stays.
    """
    with suppress(OSError):
        if _is_at(descriptor, path):
            path.unlink()
    os.close(descriptor)


def _lock(descriptor: int) -> bool:
    if os.name != "posix":
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(descriptor: int, path: Path) -> bool:
    """Tell whether the file still stands: whoever held it deletes it."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
