"""Start a program in a process group of its own, so that it can be ended with all that it has started."""

import asyncio
import os
import signal
from asyncio.subprocess import Process
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

_PATIENCE_S = 5
"""Seconds that a program may take to end after its last word."""


async def drained(process: Process) -> None:
    """Wait a while for a program to end, and read what it still writes to us."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_PATIENCE_S):
            await process.communicate()


async def killed(process: Process) -> None:
    """Kill a program and what it started, and let go of its pipes."""
    with suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    await drained(process)


async def started(
    *command: str, end: Callable[[Process], Awaitable[object]] = killed, **options: Any
) -> Process:
    """Start a program; where that is cancelled, nothing of it runs any more: asyncio would end it alone.

    Args:
        command: the program and its arguments.
        end: ends it with all that it has started by then.
        options: as `asyncio.create_subprocess_exec` takes them.

    Raises:
        OSError: it cannot be started.
    """
    starting = asyncio.create_task(
        asyncio.create_subprocess_exec(*command, start_new_session=True, **options)
    )
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        # In a task of its own: it is carried through, whoever gives up waiting for it.
        await asyncio.shield(asyncio.create_task(_taken_back(starting, end)))
        raise


async def _taken_back(starting: asyncio.Task[Process], end: Callable[[Process], Awaitable[object]]) -> None:
    await asyncio.wait({starting})
    if not starting.cancelled() and not starting.exception():
        await end(starting.result())
