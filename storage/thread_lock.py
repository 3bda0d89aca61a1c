"""One turn of a thread at a time, whichever process on this data directory runs it; the next one queues.

In a process they queue in the order they came. Between processes the operating system keeps a lock for each
turn that runs, and lets go of it when its process ends, however it ends: a dead process blocks nobody. On
Windows, turns queue in a process alone.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from base.errors import BusyThreadError, StorageError
from storage.turn_locks import BEST, Locks

_FIRST_POLL_S, _LAST_POLL_S = 0.01, 0.25


class Turns:
    """The turns that run on one data directory."""

    def __init__(self, folder: Path, patience_s: float = 600, locks: type[Locks] = BEST) -> None:
        """Name the folder of the locks; it is made when the first is needed.

        Args:
            folder: for this alone.
            patience_s: seconds to wait for another process's turn.
            locks: of which kind.
        """
        self.folder = folder
        self._patience_s = patience_s
        self._locks = locks(folder)
        self._here: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def of(self, thread_id: str) -> AsyncIterator[None]:
        """Have a thread to oneself.

        Raises:
            BusyThreadError: another process is still at it when the patience ends.
            StorageError: the folder cannot be used.
        """
        lock = self._here.get(thread_id)
        if lock is None:
            lock = self._here[thread_id] = asyncio.Lock()
        async with lock:
            held = await self._wait(thread_id)
            try:
                yield
            finally:
                self._locks.let_go(held)

    def at_once(self, thread_id: str) -> AbstractAsyncContextManager[None]:
        """Have a thread to oneself, now or not at all. Raises as `of` does, where any turn of it runs."""
        return Turns(self.folder, patience_s=0, locks=type(self._locks)).of(thread_id)

    def is_held(self, thread_id: str) -> bool:
        """Tell whether a turn of a thread is under way, here or in another process."""
        here = self._here.get(thread_id)
        if here and here.locked():
            return True
        try:
            return self._locks.is_held(thread_id)
        except OSError:
            return False

    async def _wait(self, thread_id: str) -> Any:
        deadline, pause = time.monotonic() + self._patience_s, _FIRST_POLL_S
        while True:
            try:
                held = self._locks.take(thread_id)
            except OSError as error:
                raise StorageError(
                    f"The folder {str(self.folder)!r} cannot be used: {error.strerror}. Make it writable "
                    "for you, or set TWOBRAIN_DATA_DIR to a directory that is yours."
                ) from error
            if held is not None:
                return held
            if time.monotonic() >= deadline:
                raise BusyThreadError(
                    f"Thread {thread_id!r} is at work in another process ({self._holder(thread_id)}), "
                    f"and was not done after {self._patience_s:g} s. Try again later, or end that process."
                )
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LAST_POLL_S)

    def _holder(self, thread_id: str) -> str:
        with suppress(OSError):
            if process := self._locks.holder(thread_id):
                return f"process {process}"
        return "which one is not known"
