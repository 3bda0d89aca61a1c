"""Locks: one turn of a thread at a time, across processes.

In a process they queue in the order they came. Between processes a file for each turn that runs is locked,
and holds the process's id. The operating system lets go of the lock when its process ends, however it ends: a
dead process blocks nobody. On Windows, turns queue in a process alone.

Each turn that runs holds a file open. So that a crowd leaves files for all else, no more run at once than
half of the files that a process may open; further ones wait.
"""

import asyncio
import hashlib
import os
import time
from collections.abc import AsyncIterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import partial
from math import inf
from pathlib import Path
from weakref import WeakValueDictionary

from base.errors import BusyThreadError
from storage.sqlite import explained

if os.name == "posix":
    import fcntl
    import resource

_PATIENCE_S = 600
"""To wait for another process's turn."""
_FIRST_POLL_S, _LAST_POLL_S = 0.01, 0.25


class ThreadLocks:
    """The locks of the threads of one data directory."""

    def __init__(self, folder: Path, patience_s: float = _PATIENCE_S) -> None:
        """Name the folder; `patience_s` are seconds to wait for another process's turn."""
        self.folder = folder
        self._patience_s = patience_s
        self._here: WeakValueDictionary[tuple[int, str], asyncio.Lock] = WeakValueDictionary()
        """By event loop and thread."""
        self._files = 0
        """Held open, or about to be."""
        self._worker = ThreadPoolExecutor(1, "thread-locks")
        """Touches the files: a server's event loop may not wait for a disk."""

    @asynccontextmanager
    async def of(self, thread_id: str) -> AsyncIterator[None]:
        """Lock a thread, waiting for those before.

        Raises:
            BusyThreadError: another process is still at it when the patience ends.
            StorageError: the folder cannot be used.
        """
        async with self._here.setdefault((id(asyncio.get_running_loop()), thread_id), asyncio.Lock()):
            path = self._path(thread_id)
            descriptor = await self._wait(thread_id, path)
            try:
                yield
            finally:
                self._files -= 1
                released = self._worker.submit(_release, path, descriptor)
                await asyncio.shield(asyncio.wrap_future(released))

    def at_once(self, thread_id: str) -> AbstractAsyncContextManager[None]:
        """Lock a thread now or not at all; raises as `of` does."""
        return ThreadLocks(self.folder, patience_s=0).of(thread_id)

    def is_held(self, thread_id: str) -> bool:
        """Tell whether a thread is locked, here or in another process."""
        here = self._here.get((id(asyncio.get_running_loop()), thread_id))
        if here and here.locked():
            return True
        try:
            descriptor = os.open(self._path(thread_id), os.O_RDWR)
        except OSError:
            return False
        try:
            return not _lock(descriptor)
        finally:
            os.close(descriptor)

    async def _wait(self, thread_id: str, path: Path) -> int:
        deadline, pause = time.monotonic() + self._patience_s, _FIRST_POLL_S
        while True:
            with explained(f"The folder {str(self.folder)!r}"):
                descriptor = await self._take(path) if self._files < _most_files() else None
            if descriptor is not None:
                return descriptor
            if time.monotonic() >= deadline:
                raise BusyThreadError(
                    f"Thread {thread_id!r} is at work in another process ({_holder(path)}), "
                    f"and was not done after {self._patience_s:g} s. Try again later, or end that process."
                )
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LAST_POLL_S)

    async def _take(self, path: Path) -> int | None:
        taken = self._worker.submit(take_file, path, str(os.getpid()))
        descriptor = None
        self._files += 1
        try:
            descriptor = await asyncio.wrap_future(taken)
        except asyncio.CancelledError:
            taken.add_done_callback(partial(_give_back, path))  # it may have been taken all the same
            raise
        finally:
            if descriptor is None:
                self._files -= 1
        return descriptor

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


def _give_back(path: Path, taken: Future[int | None]) -> None:
    if not taken.cancelled() and not taken.exception() and (descriptor := taken.result()) is not None:
        _release(path, descriptor)


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


def _holder(path: Path) -> str:
    try:
        return f"process {int(path.read_text())}"
    except (OSError, ValueError):
        return "which one is not known"
