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

from base.redaction import redacted_json, redacted_text
from base.settings import Settings
from base.tasks import StillRunningError, within
from base.telemetry import Operation, shows_content
from base.texts import is_blank
from base.worker_threads import in_thread
from tools.declaration import Here, OutcomeUnknown, Tool, ToolFailure, Untrusted

_AT_ONCE = 200_000
"""Characters of a result that are looked through on the event loop; more would hold it up."""


RunStatus = Literal["executed", "failed", "unknown"]


@dataclass(frozen=True, slots=True)
class Ran:
    """What became of a call."""

    status: RunStatus
    text: str
    """For the model: plain UTF-8, without secrets, never empty."""
    duration_ms: float
    untrusted: bool = False
    """The text holds what others wrote."""


async def run_tool(tool: Tool, here: Here, args: dict[str, Any], left_s: float | None = None) -> Ran:
    """Run a tool on checked arguments; raises nothing but outside cancellation.

    A tool that heeds no cancellation is left to itself, and that is said. `left_s` are the seconds that are
    left of the turn; None: it is not bound by them.
    """
    named = {
        "gen_ai.tool.name": tool.name,
        "gen_ai.tool.type": "function",
        "gen_ai.tool.call.id": here.call_id,
    }
    with Operation("execute_tool", tool.name, named) as operation:
        ran = await _ran(tool, here, args, left_s)
        if ran.status != "executed":
            operation.fail(ran.status)
        if shows_content():
            told = redacted_json(args, here.settings.redact)
            operation.note({"gen_ai.tool.call.arguments": told, "gen_ai.tool.call.result": ran.text})
        return ran


async def _ran(tool: Tool, here: Here, args: dict[str, Any], left_s: float | None) -> Ran:
    started = time.perf_counter()
    limit = here.settings.limits.tool_timeout_s if tool.timeout_s is None else tool.timeout_s
    limit = limit if left_s is None else min(limit, left_s)
    try:
        status, text = await within(limit, _run(tool, here, args), cancellations=2, wait_s=1.0)
    except TimeoutError as late:
        status, text = _overdue(tool, limit, is_running=isinstance(late, StillRunningError))
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():  # from outside, and not out of a library within the tool
            raise
        status, text = "failed", f"Tool error: {tool.name} was interrupted."
    duration_ms = (time.perf_counter() - started) * 1_000
    untrusted = tool.untrusted or isinstance(text, Untrusted)
    tidy = partial(redacted_text, text, here.settings.redact)
    shown = await in_thread(tidy) if len(text) > _AT_ONCE else tidy()
    return Ran(status, shown, round(duration_ms, 1), untrusted)


async def _run(tool: Tool, here: Here, args: dict[str, Any]) -> tuple[RunStatus, str]:
    """Return what became of a call; raising would stop its siblings."""
    if lack := tool.missing(here.settings):
        return "failed", f"Tool error: {tool.name} is not available: {lack}"
    try:
        result = await tool.run(here, args)
        text = result if isinstance(result, str) else to_json(result, serialize_unknown=True).decode()
    except ToolFailure as failure:
        if isinstance(failure, OutcomeUnknown) and tool.effect != "read":
            return "unknown", failure.told("Outcome unknown")
        return "failed", failure.told("Tool error")
    except (Exception, SystemExit) as error:
        # The traceback module survives an exception whose own __str__ raises.
        words = "".join(traceback.format_exception_only(error)).strip()
        return "failed", Untrusted(f"Tool error: {words}")  # whatever it holds
    return "executed", "(no output)" if result is None or is_blank(text) else text


def _overdue(tool: Tool, limit: float, *, is_running: bool) -> tuple[RunStatus, str]:
    how = "heeds no cancellation and may still be running" if is_running else "was stopped"
    said = f"{tool.name} took longer than {round(limit, 2):g} s and {how}."
    if tool.effect == "read":
        return "failed", f"Tool error: {said}"
    return "unknown", f"Outcome unknown: {said} It may have taken effect all the same."


@asynccontextmanager
async def concurrency_limit(
    tool: Tool, settings: Settings, left_s: float | None = None
) -> AsyncIterator[None]:
    """Wait for the semaphores of a call's tool and of all tools.

    Raises:
        ToolFailure: none was free in so many seconds.
    """
    async with AsyncExitStack() as held:
        try:
            async with asyncio.timeout(left_s):
                if tool.at_once is not None:
                    await held.enter_async_context(_semaphore(tool.name, tool.at_once))
                if settings.limits.tools_at_once is not None:
                    await held.enter_async_context(_semaphore("", settings.limits.tools_at_once))
        except TimeoutError:
            raise ToolFailure(f"{tool.name} was not run, for the time of the turn was up.") from None
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
