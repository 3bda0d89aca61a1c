"""What is written as it happens and read by people: usage, audit, threads and rules."""

import asyncio
import time
from typing import Any

from sqlalchemy import Engine

from base.redaction import Redact, redacted_text
from ledger import bookkeeping, calls, pruning, remembered_rules
from ledger.access import Access
from ledger.bookkeeping import Grouping
from ledger.records import OpenCall, ThreadStatus, Use, Used, fields_of
from storage.writer import Writer


class Journal:
    """The ledger but for the life of a call; see `ledger.book.Ledger`."""

    def __init__(self, engine: Engine, redact: Redact, owner: str, writer: Writer | None = None) -> None:
        self.writer = writer or Writer("writer")
        """Writes to the ledger first, and then to whatever else is opened with it."""
        self._access = Access(engine, self.writer)
        self._redact = redact
        self._owner = owner

    async def close(self) -> None:
        """Write what is queued and let go of the database; again is harmless."""
        await asyncio.to_thread(self._access.close)

    async def rules(self, *, user: str | None = None, valid: bool = False) -> list[dict[str, Any]]:
        """Return remembered rules, the oldest first; only those that have not run out where `valid`."""
        return await self._access.read(remembered_rules.listed, user, time.time() if valid else None)

    async def revoke_rule(self, rule_id: str, *, user: str | None = None) -> bool:
        """Forget a rule; False where the user (None: anybody) has none of that id."""
        return await self._access.write(remembered_rules.revoke, rule_id, user)

    def record_usage(self, use: Use) -> None:
        """Record one model call: it is on disk before all that is recorded later.

        Raises:
            StorageError: the ledger is closed.
        """
        self._access.leave(bookkeeping.record_usage, self._used(use))

    def book_usage(
        self, use: Use, most_tokens: float | None, most_usd: float | None
    ) -> asyncio.Future[int | Used]:
        """Queue the record of a model call that is about to begin, at the most it is thought to take.

        Args:
            use: the call; its `counted_tokens` and `cost_usd` count until it is settled.
            most_tokens: of its user's day; None: no limit.
            most_usd: the same in US dollars.

        Returns:
            The number to settle it by; or what is used, where that reaches a limit: the call may not begin.
        """
        return self._access.write(bookkeeping.book, self._used(use), most_tokens, most_usd)

    def settle_usage(self, number: int, use: Use | None) -> None:
        """Record what a booked call took in the end, as `record_usage` does; None: it was never made."""
        self._access.leave(bookkeeping.settle, number, None if use is None else self._used(use))

    async def usage(
        self,
        *,
        user: str | None = None,
        since: float | None = None,
        thread: str | None = None,
        turn: str | None = None,
    ) -> list[dict[str, Any]]:
        """Return model calls, oldest first, under the names of `Use`."""
        filters = {"user": user, "since": since, "thread": thread, "turn": turn}
        return await self._access.read(bookkeeping.list_usage, filters)

    async def usage_totals(
        self,
        *,
        by: Grouping,
        user: str | None = None,
        since: float | None = None,
        thread: str | None = None,
        turn: str | None = None,
    ) -> list[dict[str, Any]]:
        """Return sums of what is known, None where nothing is; days are UTC.

        Each has the names it is grouped by (`model`: backend and model; `turn`: thread and turn),
        `model_calls`, and `unpriced_calls`: how many of them the cost leaves out.
        """
        filters = {"user": user, "since": since, "thread": thread, "turn": turn}
        return await self._access.read(bookkeeping.total_usage, by, filters)

    async def used_on(self, user: str, at: float) -> tuple[int, float]:
        """Return the tokens, as limits count them, and the known US dollars of a user's day, by UTC.

        Args:
            user: the user.
            at: seconds since the epoch, a moment of that day.
        """
        return await self._access.read(bookkeeping.used_on, user, at)

    async def audit(
        self, *, thread: str | None = None, user: str | None = None, limit: int | None = None
    ) -> list[dict[str, Any]]:
        """Return the newest `limit` calls, newest last; an open one is waiting, ready or running."""
        return await self._access.read(bookkeeping.list_audit, {"thread": thread, "user": user}, limit)

    async def touch(
        self,
        thread: str,
        *,
        user: str,
        status: ThreadStatus,
        title: str | None = None,
        waiting_since: float | None = None,
    ) -> None:
        """Record how a thread stands; its first user and, where None is given, its title stay.

        Args:
            thread: its id.
            user: whose it is.
            status: how it stands now.
            title: what it is about; None: as it was.
            waiting_since: seconds since the epoch; None: since it began to wait.
        """
        await self._access.write(bookkeeping.touch, self._touched(thread, user, status, title, waiting_since))

    def mark(self, thread: str, *, user: str, status: ThreadStatus, title: str | None = None) -> None:
        """Record how a thread stands, as `touch` does, without waiting; raises as `record_usage` does."""
        self._access.leave(bookkeeping.touch, self._touched(thread, user, status, title))

    def settled(self) -> asyncio.Future[None]:
        """Return a future that is done when all that was recorded before is on disk.

        Raises, and its future too:
            StorageError: the ledger is closed, or cannot be written to.
        """
        return self._access.settled()

    async def take_up(self, thread: str) -> None:
        """Record that this process goes on with a thread's turn."""
        await self._access.write(bookkeeping.take_up, thread, self._owner)

    async def threads(
        self, *, user: str | None = None, status: ThreadStatus | None = None
    ) -> list[dict[str, Any]]:
        """Return threads, the last touched last; `status` is what was recorded, not how it is read."""
        return await self._access.read(bookkeeping.list_threads, {"user": user, "status": status})

    async def thread(self, thread: str) -> dict[str, Any] | None:
        """Return a thread as `threads` does; None where it is not on record."""
        found = await self._access.read(bookkeeping.list_threads, {"thread": thread})
        return found[0] if found else None

    async def forget_thread(self, thread: str, *, audit: bool) -> None:
        """Delete a thread's row, and its calls where the audit is to go too; its usage stays."""
        await self._access.write(pruning.forget, thread, audit=audit)

    async def needed_results(self) -> pruning.Needed:
        """Return the long results that the threads there are need."""
        return await self._access.read(pruning.needed_results)

    async def open_calls(self, thread: str) -> list[OpenCall]:
        """Return the calls of a thread that were asked about or begun and have no outcome, in their order."""
        return await self._access.read(calls.still_open, thread, time.time())

    async def known(self, thread: str) -> set[str]:
        """Return the ids of a thread's calls, whatever became of them."""
        return await self._access.read(calls.known, thread)

    def _touched(
        self, thread: str, user: str, status: ThreadStatus, title: str | None, since: float | None = None
    ) -> dict[str, Any]:
        now = time.time()
        return {
            "thread": thread,
            "user": user,
            "status": status,
            "title": None if title is None else self._clean(title),
            "waiting_since": (since or now) if status == "waiting" else None,
            "updated_at": now,
            "owner": self._owner if status == "running" else None,
        }

    def _used(self, use: Use) -> dict[str, Any]:
        return {**fields_of(use), "error": None if use.error is None else self._clean(use.error)}

    def _clean(self, text: str) -> str:
        return redacted_text(text, self._redact)
