"""Worker threads for tools that block, apart from asyncio's own few."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import cache
from typing import TypeVar

T = TypeVar("T")

MOST_THREADS = 128
"""Blocking tools at work at once; the next one waits for a thread."""


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(MOST_THREADS, thread_name_prefix="tool")


async def in_thread(function: Callable[[], T]) -> T:
    """Run a blocking function in a thread, with the caller's context variables.

    Cancelled before it begins, it never runs; cancelled while it runs, it goes on unwatched.
    """
    future = _pool().submit(copy_context().run, _without_stop_iteration, function)
    try:
        return await asyncio.wrap_future(future)
    except asyncio.CancelledError:
        if future.running():
            # A thread cannot be stopped. Its pool ends when its work does; later calls get a new one.
            _pool.cache_clear()
        raise


def _without_stop_iteration(function: Callable[[], T]) -> T:
    # Below Python 3.12 asyncio cannot carry a StopIteration.
    try:
        return function()
    except StopIteration as error:
        raise RuntimeError("StopIteration") from error
