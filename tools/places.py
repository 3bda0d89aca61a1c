"""How many calls are at work at once in this process; whoever comes later waits for a place.

A place is for the whole process, whatever event loop a call runs on; those who wait get theirs in the
order they came.
"""

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator
from concurrent.futures import Future
from contextlib import AsyncExitStack, asynccontextmanager
from functools import cache

from base.settings import Settings
from tools.declaration import Tool


@asynccontextmanager
async def place(tool: Tool, settings: Settings) -> AsyncIterator[None]:
    """Hold a place for a call of a tool: among the tool's own, then among those of all tools."""
    async with AsyncExitStack() as held:
        if tool.at_once is not None:
            await held.enter_async_context(_places(tool.name, tool.at_once))
        if settings.limits.tools_at_once is not None:
            await held.enter_async_context(_places("", settings.limits.tools_at_once))
        yield


class _Places:
    """A number of places, each held by one call at a time."""

    def __init__(self, number: int) -> None:
        self._free = number
        self._waiting: deque[Future[None]] = deque()
        self._lock = threading.Lock()

    async def __aenter__(self) -> None:
        with self._lock:
            if self._free:
                self._free -= 1
                return
            mine: Future[None] = Future()
            self._waiting.append(mine)
        try:
            await asyncio.wrap_future(mine)
        except asyncio.CancelledError:
            if not mine.cancel():  # it was given in the same moment
                self._pass_on()
            raise

    async def __aexit__(self, *_: object) -> None:
        self._pass_on()

    def _pass_on(self) -> None:
        with self._lock:
            while self._waiting:
                following = self._waiting.popleft()
                if following.set_running_or_notify_cancel():
                    following.set_result(None)
                    return
            self._free += 1


@cache
def _places(_name: str, number: int) -> _Places:
    return _Places(number)
