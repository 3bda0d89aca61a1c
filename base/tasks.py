"""Tasks that nobody need wait for. Uses private names of asyncio."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

_T = TypeVar("_T")
_log = logging.getLogger(__name__)
_held: set[asyncio.Task[Any]] = set()
"""At work or left to themselves: an event loop holds no task alive."""


class StillRunningError(TimeoutError):
    """The time is over, and what took it heeds no cancellation."""


def begin(coroutine: Coroutine[Any, Any, _T]) -> asyncio.Task[_T]:
    """Begin a task that is held until it ends."""

    def end(task: asyncio.Task[_T]) -> None:
        _held.discard(task)
        if not task.cancelled():
            task.exception()  # looked at, so that nobody is warned of it

    task = asyncio.create_task(coroutine)
    _held.add(task)
    task.add_done_callback(end)
    return task


async def within(
    seconds: float | None, coroutine: Coroutine[Any, Any, _T], *, cancellations: int, wait_s: float
) -> _T:
    """Return what a coroutine gives within so many seconds; None: any number.

    Cancelled, or after that time, it is cancelled, up to so many times, each `wait_s` after the one before: a
    cancellation is lost where it meets one of a library's own, as anyio makes them. Then it is left to
    itself, and holds up neither its caller nor the end of the event loop.

    Raises:
        TimeoutError: it gave nothing until then.
        StillRunningError: nor has it ended.
    """
    task = begin(_contained(coroutine))
    late = TimeoutError
    try:
        await asyncio.wait({task}, timeout=seconds)
    finally:
        is_late = not task.done()
        for _ in range(cancellations):
            if not task.done():
                task.cancel()
                await asyncio.wait({task}, timeout=wait_s)
        if not task.done():
            late = StillRunningError
            name = getattr(coroutine, "__qualname__", "a task")
            _log.warning("%s heeds no cancellation, and was left to itself", name)
            import ctypes  # for this alone

            # Never freed: among modules that are gone its coroutine could not be closed.
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(task))
            task._log_destroy_pending = False  # type: ignore[attr-defined]  # noqa: SLF001 (it is meant to be left)
            asyncio.tasks._unregister_task(task)  # noqa: SLF001 (asyncio.run would wait for it)
    if is_late:
        raise late
    return task.result()


async def _contained(coroutine: Coroutine[Any, Any, _T]) -> _T:
    """Wait for a coroutine that cannot end the event loop."""
    try:
        return await coroutine
    except (SystemExit, KeyboardInterrupt) as error:
        raise RuntimeError(repr(error)) from None
