"""Runs one tool call; whatever happens becomes a result."""

import asyncio
import threading
import time
import traceback
from collections import deque
from collections.abc import AsyncIterator
from concurrent.futures import Future
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Literal

from pydantic_core import to_json

from base.redaction import redacted_text
from base.settings import Settings
from base.texts import is_blank
from base.worker_threads import in_thread
from tools.declaration import Here, Tool, ToolFailure, Untrusted

_AT_ONCE = 200_000
"""Characters of a result that are looked through on the event loop; more would hold it up."""


@dataclass(frozen=True, slots=True)
class Ran:
    """What became of a call."""

    status: Literal["executed", "failed"]
    text: str
    """For the model: plain UTF-8, without secrets, never empty."""
    duration_ms: float
    untrusted: bool = False
    """The text holds what others wrote."""


async def run_tool(tool: Tool, here: Here, args: dict[str, Any]) -> Ran:
    """Run a tool on checked arguments; raises nothing but outside cancellation."""
    started = time.perf_counter()
    status: Literal["executed", "failed"] = "executed"
    try:
        text = await _run(tool, here, args)
    except ToolFailure as failure:
        status, text = "failed", failure.told("Tool error")
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():  # from outside, and not out of a library within the tool
            raise
        status, text = "failed", f"Tool error: {tool.name} was interrupted."
    except (Exception, SystemExit) as error:  # one raising call would stop its siblings
        # The traceback module survives an exception whose own __str__ raises.
        words = "".join(traceback.format_exception_only(error)).strip()
        status, text = "failed", Untrusted(f"Tool error: {words}")  # whatever it holds
    duration_ms = (time.perf_counter() - started) * 1_000
    untrusted = tool.untrusted or isinstance(text, Untrusted)
    tidy = partial(redacted_text, text, here.settings.redact)
    shown = await in_thread(tidy) if len(text) > _AT_ONCE else tidy()
    return Ran(status, shown, round(duration_ms, 1), untrusted)


async def _run(tool: Tool, here: Here, args: dict[str, Any]) -> str:
    if lack := tool.missing(here.settings):
        raise ToolFailure(f"{tool.name} is not available: {lack}")
    limit = here.settings.limits.tool_timeout_s if tool.timeout_s is None else tool.timeout_s
    deadline = asyncio.timeout(limit)
    try:
        async with deadline:
            result = await tool.run(here, args)
    except TimeoutError:
        if not deadline.expired():
            raise
        doubt = "" if tool.effect == "read" else " It may have taken effect all the same."
        raise ToolFailure(f"{tool.name} took longer than {limit:g} s and was stopped.{doubt}") from None
    text = result if isinstance(result, str) else to_json(result, serialize_unknown=True).decode()
    return "(no output)" if result is None or is_blank(text) else text


@asynccontextmanager
async def concurrency_limit(tool: Tool, settings: Settings) -> AsyncIterator[None]:
    """Wait for the semaphores of a call's tool and of all tools."""
    async with AsyncExitStack() as held:
        if tool.at_once is not None:
            await held.enter_async_context(_semaphore(tool.name, tool.at_once))
        if settings.limits.tools_at_once is not None:
            await held.enter_async_context(_semaphore("", settings.limits.tools_at_once))
        yield


class _Semaphore:
    """A fair semaphore of the whole process, across event loops."""

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
            if not mine.cancel():  # it was passed on in the same moment
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
def _semaphore(_name: str, number: int) -> _Semaphore:
    return _Semaphore(number)
