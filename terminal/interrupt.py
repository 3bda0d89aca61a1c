"""Ctrl-C as an exception; what it then ends is each command's."""

import asyncio
import contextlib
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


EXIT = "/exit"
"""Typed at any prompt, it leaves."""


class LeftError(Exception):
    """The person pressed Ctrl-C or Ctrl-D, or typed EXIT (its text)."""


async def until_interrupted(work: Coroutine[Any, Any, T]) -> T:
    """Run it to its end; a Ctrl-C cancels it.

    Raises:
        LeftError: Ctrl-C came first; what the work had running is cleaned up.
    """
    loop = asyncio.get_running_loop()
    task = loop.create_task(work)
    stopped = asyncio.Event()

    def stop() -> None:
        stopped.set()
        task.cancel()

    with contextlib.suppress(NotImplementedError):  # Windows: Ctrl-C ends the process there
        loop.add_signal_handler(signal.SIGINT, stop)
    try:
        return await task
    except asyncio.CancelledError:
        if stopped.is_set():
            raise LeftError from None
        raise
    finally:
        with contextlib.suppress(NotImplementedError):
            loop.remove_signal_handler(signal.SIGINT)
