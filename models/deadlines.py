"""Wait for a model's answer until its deadline, whatever its client does."""

import asyncio
import logging
import time
from collections.abc import Coroutine
from typing import Any

from langchain_core.messages import AIMessage

_HEEDED_S = 0.1
"""In which a client heeds a cancellation."""
_MOST_CANCELLATIONS = 10
"""Of one call; after them nobody waits for it any more."""

_log = logging.getLogger(__name__)
_underway: set[asyncio.Task[AIMessage]] = set()
"""Calls at work or left to themselves: an event loop keeps no task alive."""


async def until(ends: float, saying: Coroutine[Any, Any, AIMessage]) -> AIMessage:
    """Return what a call gives before `time.monotonic()` is past its end.

    Raises:
        TimeoutError: it gave nothing until then.
    """
    call = asyncio.create_task(saying)
    _underway.add(call)
    call.add_done_callback(_ended)
    try:
        await asyncio.wait({call}, timeout=max(0.0, ends - time.monotonic()))
        if not call.done():
            raise TimeoutError
    finally:
        await _cut_off(call)
    return call.result()


def _ended(call: asyncio.Task[AIMessage]) -> None:
    _underway.discard(call)
    if not call.cancelled():
        call.exception()  # looked at, so that nobody is warned of it


async def _cut_off(call: asyncio.Task[AIMessage]) -> None:
    """Cancel a call that goes on, and leave it alone where it does not heed that: the person has waited.

    A cancellation is lost where it meets one of the client's own, as anyio makes them: it is repeated.
    """
    for _ in range(_MOST_CANCELLATIONS):
        if call.done():
            return
        call.cancel()
        await asyncio.wait({call}, timeout=_HEEDED_S)
    if not call.done():
        _log.warning("a model call heeds no cancellation, and was left to itself")
