"""The turns that this process runs for the page.

A turn is a task of its own: whoever listens may come, leave and come again, and it goes on.
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress
from contextvars import Context as Variables
from dataclasses import dataclass, field
from typing import Any

from base.errors import BusyThreadError, StorageError, TwobrainError
from graphs.session import Orchestrator
from graphs.stream import Event, told

HELD_S = 60.0
"""Seconds for which a turn that has ended can be heard again."""
_IDS_PER_MS = 1_000
_CANCELLATIONS, _CANCELLED_S = 3, 5.0
STOPPED = "Stopped. Go on with it, or say something else."
_UNEXPECTED = "Something unforeseen went wrong; the server's log says what. Go on with it, or try again."
UNDER_WAY = "A turn of this conversation is under way. Wait for its end, or stop it."
_LAST = {"done", "failed"}
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class LiveTurn:
    """A turn that runs or has just ended, with its events."""

    thread: str
    by: str
    """Who began it: the thread's user, or who approves for them."""
    number: int
    """In milliseconds since the epoch when it began, so that each is higher than those before."""
    message_id: str | None = None
    """Of the message that it answers, where its sender named one."""
    events: list[dict[str, Any]] = field(default_factory=list)
    ended_at: float | None = None
    """On the monotonic clock; None: it runs."""
    task: asyncio.Task[None] | None = None
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def tell(self, event: dict[str, Any]) -> None:
        """Add an event, for whoever listens."""
        self.events.append(event)
        self._wake()

    def end(self) -> None:
        """Note that no more comes; again is harmless."""
        if not self.events or self.events[-1]["event"] not in _LAST:
            self.events.append({"event": "failed", "detail": STOPPED, "stopped": True})
        self.ended_at = self.ended_at or time.monotonic()
        self._wake()

    def first_after(self, last_id: int) -> int:
        """Return the place of the first event that somebody has not heard.

        `last_id` may be another turn's: then it is the first.
        """
        heard = last_id - self.number * _IDS_PER_MS
        return heard if 0 < heard <= len(self.events) else 0

    async def listen(self, start: int = 0) -> AsyncIterator[tuple[int, dict[str, Any]]]:
        """Yield ids and events, from a place on, to the turn's end."""
        while True:
            changed = self._changed
            for event in self.events[start:]:
                start += 1
                yield self.number * _IDS_PER_MS + start, event
            if start >= len(self.events):
                if self.ended_at is not None:
                    return
                await changed.wait()

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


class LiveTurns:
    """One turn a thread; those that ended are forgotten after a while."""

    def __init__(self, orchestrator: Orchestrator) -> None:
        self._orchestrator = orchestrator
        self._turns: dict[str, LiveTurn] = {}
        self._last_number = 0
        self._closing = False

    def running(self, thread: str) -> LiveTurn | None:
        """Return the turn of a thread that runs here; None: none does."""
        turn = self._turns.get(thread)
        return turn if turn and turn.ended_at is None else None

    def recent(self, thread: str) -> LiveTurn | None:
        """Return the turn of a thread that runs, or ended just now."""
        turn = self._turns.get(thread)
        is_over = turn and turn.ended_at is not None and time.monotonic() - turn.ended_at > HELD_S
        return None if is_over else turn

    async def check_idle(self, thread: str) -> None:
        """Check that no turn of a thread runs in any process.

        Raises:
            BusyThreadError: one is.
        """
        if self.running(thread) or await self._orchestrator.turns.is_held(thread):
            raise BusyThreadError(UNDER_WAY)

    def begin(
        self, thread: str, by: str, events: AsyncGenerator[Event, None], message_id: str | None = None
    ) -> LiveTurn:
        """Run a turn that nobody need listen to.

        Raises:
            BusyThreadError: one of the thread runs here already, or this process is being ended.
        """
        if self.running(thread) or self._closing:
            raise BusyThreadError(UNDER_WAY)
        for each in [name for name in self._turns if self.recent(name) is None]:
            del self._turns[each]
        self._last_number = max(self._last_number + 1, time.time_ns() // 1_000_000)
        turn = self._turns[thread] = LiveTurn(thread, by, self._last_number, message_id)
        # Of the request that began it nothing holds on: a server's runtime, the spans, what is logged.
        turn.task = asyncio.get_running_loop().create_task(self._run(turn, events), context=Variables())
        turn.task.add_done_callback(lambda _: turn.end())  # also where it was cancelled before it began
        return turn

    async def stop(self, thread: str) -> bool:
        """Cut a turn short, as Ctrl-C does; False: none runs here."""
        turn = self.running(thread)
        if turn is None or turn.task is None:
            return False
        await _cancel({turn.task})
        return True

    async def close(self) -> None:
        """Cut short all that runs; each can be gone on with."""
        self._closing = True
        await _cancel({turn.task for turn in self._turns.values() if turn.task and not turn.task.done()})

    async def _run(self, turn: LiveTurn, events: AsyncGenerator[Event, None]) -> None:
        try:
            async with aclosing(events):
                async for event in events:
                    turn.tell(told(event))
        except asyncio.CancelledError:
            await self._cut_short(turn, STOPPED, stopped=True)
        except TwobrainError as error:
            await self._cut_short(turn, str(error))
        except Exception:  # whatever it is: whoever listens is told that it is over
            _log.exception("a turn of thread %s", turn.thread)
            await self._cut_short(turn, _UNEXPECTED)
        finally:
            turn.end()

    async def _cut_short(self, turn: LiveTurn, why: str, *, stopped: bool = False) -> None:
        """Tell that a turn is over, which can be gone on with.

        The ledger takes what a living process runs for running.
        """
        ledger = self._orchestrator.ledger
        with suppress(BusyThreadError, StorageError):
            async with self._orchestrator.turns.at_once(turn.thread):
                row = await ledger.thread(turn.thread)
                if row and row["status"] == "running":
                    await ledger.touch(turn.thread, user=row["user"], status="interrupted")
        turn.tell({"event": "failed", "detail": why, "stopped": stopped})


async def _cancel(tasks: set[asyncio.Task[None]]) -> None:
    """Cancel tasks, again where one of a library's own took the cancellation."""
    for _ in range(_CANCELLATIONS):
        for task in tasks:
            task.cancel()
        if tasks:
            _, tasks = await asyncio.wait(tasks, timeout=_CANCELLED_S)
