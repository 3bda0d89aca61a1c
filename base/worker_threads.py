"""Worker threads for what blocks, apart from asyncio's own few."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import ContextVar, copy_context
from functools import partial
from math import inf
from queue import SimpleQueue
from threading import Event, Lock, Thread
from typing import TypeVar

T = TypeVar("T")

MOST_THREADS = 128
"""Blocking tools at work at once; the next one waits for a thread."""

_cancelled: ContextVar[Event] = ContextVar("cancelled")


class _Threads:
    """Daemon threads: unlike those of concurrent.futures they hold up no exit."""

    def __init__(self, most: float) -> None:
        self._most = most
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._lock = Lock()
        self._threads = 0
        self._free = 0
        """Threads that wait for a job, less the jobs that wait for a thread."""
        self._ends = False

    def submit(self, job: Callable[[], None]) -> bool:
        """Do a job once a thread is free; False: they end."""
        with self._lock:
            if self._ends:
                return False
            self._free -= 1
            if self._free < 0 and self._threads < self._most:
                self._threads += 1
                self._free += 1
                Thread(target=self._work, name="tool", daemon=True).start()
            self._jobs.put(job)
        return True

    def end(self) -> None:
        """End each thread once there is nothing left to do for it."""
        with self._lock:
            self._ends = True
            for _ in range(self._threads):
                self._jobs.put(None)

    def _work(self) -> None:
        while job := self._jobs.get():
            job()
            with self._lock:
                self._free += 1


_pools: dict[float, _Threads] = {}
"""By the most threads that one may have."""


def _pool(most: float) -> _Threads:
    return _pools.get(most) or _pools.setdefault(most, _Threads(most))


async def in_thread(function: Callable[[], T], *, waits: bool = False) -> T:
    """Run a blocking function in a thread, with the caller's context variables.

    `waits`: it does little but wait, for minutes, and takes none of the threads that others share. Cancelled
    before it begins, it never runs; cancelled while it runs, it is told so (`is_cancelled`), and until it has
    ended its caller has not ended either.
    """
    future: Future[T] = Future()
    told, context = Event(), copy_context()
    context.run(_cancelled.set, told)
    job = partial(_fill, future, partial(context.run, function))
    most = inf if waits else MOST_THREADS
    while not (pool := _pool(most)).submit(job):
        pass  # another event loop ended it just now
    waiting = asyncio.wrap_future(future)
    try:
        return await asyncio.shield(waiting)
    except asyncio.CancelledError:
        told.set()
        if not future.cancel() and not future.done():
            # A thread cannot be stopped. Its pool ends when its work does; later calls get a new one.
            if pool is _pools.get(most):
                _pools.pop(most, None)
                pool.end()
            await _ended(waiting)
        raise


def is_cancelled() -> bool:
    """Tell whether nobody waits any more for what this thread does."""
    told = _cancelled.get(None)
    return told is not None and told.is_set()


async def _ended(waiting: asyncio.Future[T]) -> None:
    while not waiting.done():
        try:
            await asyncio.wait({waiting})
        except asyncio.CancelledError:
            continue
    waiting.exception()


def _fill(future: Future[T], function: Callable[[], T]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = function()
    except StopIteration:  # below Python 3.12 asyncio cannot carry one
        future.set_exception(RuntimeError("StopIteration"))
    except BaseException as error:  # whatever it is, it is the caller's
        future.set_exception(error)
    else:
        future.set_result(result)
