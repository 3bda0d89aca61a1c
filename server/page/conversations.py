"""Conversations as the page shows them: listed, searched, read, deleted."""

import asyncio
from collections.abc import Iterable
from typing import Any
from weakref import WeakValueDictionary

from base.errors import BusyThreadError, DamagedThreadError, UnknownThreadError
from graphs.conversation_search import ConversationSearch
from graphs.result import condition_of, result_of
from graphs.session import Orchestrator
from graphs.stream import shown
from graphs.transcript import Row, delete_conversation, messages_of
from nodes.gate.request import identity_of
from server.page.live_turns import UNDER_WAY, LiveTurns
from server.page.sign_in import PageUser

_FIRST_LINE = 300
"""Characters of an answer's first line."""
_FIRST_LINES = 1_000
"""That are at hand."""


class Conversations:
    """The ledger's threads, and what was said on them."""

    def __init__(self, orchestrator: Orchestrator, turns: LiveTurns) -> None:
        self._orchestrator = orchestrator
        self._turns = turns
        self._searches: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._search = ConversationSearch(orchestrator.ledger, orchestrator.graph)

    async def find(self, thread: str, who: PageUser) -> Row:
        """Return the row of a thread that somebody may read.

        It is theirs; or waits for their approval, or runs by it.

        Raises:
            UnknownThreadError: there is none such.
        """
        row = await self._row(thread)
        if row["user"] != who.user:
            turn = self._turns.recent(thread)
            is_read = row["status"] == "waiting" or (turn is not None and turn.by == who.user)
            if not (is_read and who.user in self._approvers(row["user"])):
                raise _unknown(thread)
        return row

    async def own(self, thread: str, who: PageUser) -> Row:
        """Return the row of a user's own thread. Raises as `find`."""
        row = await self._row(thread)
        if row["user"] != who.user:
            raise _unknown(thread)
        return row

    async def answerable(self, thread: str, who: PageUser) -> Row:
        """Return the row of a thread on which somebody may answer.

        What became of its last question they may know, too. Raises as `find`.
        """
        row = await self._row(thread)
        if row["user"] != who.user and who.user not in self._approvers(row["user"]):
            raise _unknown(thread)
        return row

    async def listed(self, who: PageUser, sought: str) -> list[dict[str, Any]]:
        """Return what somebody may read, the last used first.

        `sought` stands in the title or was said; empty: all.
        """
        waiting = await self._orchestrator.ledger.threads(status="waiting")
        others = [row for row in waiting if who.user in self._approvers(row["user"])]
        rows = [*await self._orchestrator.ledger.threads(user=who.user), *others]
        rows = [row for row in rows if row["status"] != "pruning"]
        found = await self._holding(who, rows, sought) if sought.split() else rows
        return [self._told(row) for row in sorted(found, key=lambda row: row["updated_at"], reverse=True)]

    async def _holding(self, who: PageUser, rows: Iterable[Row], sought: str) -> list[Row]:
        """Return what holds some words, one search a person at a time.

        The first search reads what the ones after it have at hand.
        """
        async with self._searches.setdefault(who.user, asyncio.Lock()):
            return await self._search.holding(rows, sought)

    async def read(self, row: Row) -> dict[str, Any]:
        """Return a conversation with its messages, and how it stands.

        Raises:
            DamagedThreadError: what is stored of it cannot be read.
        """
        thread = row["thread"]
        turn = self._turns.running(thread)
        told = {**self._told(row), "messages": [], "result": None, "question": None}
        told["live"] = turn.number if turn else None
        try:
            snapshot = await self._orchestrator.snapshot(thread)
        except UnknownThreadError:
            return told  # nothing of its first turn is stored yet, or another program has it
        result = result_of(thread, snapshot)
        told["messages"] = messages_of(snapshot.values)
        told["result"] = {**result.to_json(), "pending": shown(result.pending)}
        told["question"] = identity_of(result.pending) if result.pending else None
        if told["status"] == "running" and turn is None and not await self._is_held(thread):
            told["status"] = condition_of(snapshot)
        return told

    async def delete(self, row: Row) -> None:
        """Delete a conversation; the audit and the usage of it stay.

        Raises:
            BusyThreadError: a turn of it is under way.
        """
        try:
            await delete_conversation(self._orchestrator, row)
        except BusyThreadError:
            raise BusyThreadError(UNDER_WAY) from None

    async def _row(self, thread: str) -> Row:
        row = await self._orchestrator.ledger.thread(thread)
        if row is None or row["status"] == "pruning":
            raise _unknown(thread)
        return row

    async def _is_held(self, thread: str) -> bool:
        return await self._orchestrator.turns.is_held(thread)

    def _approvers(self, user: str) -> Iterable[str]:
        card = self._orchestrator.settings.users.get(user)
        return card.approvers if card else ()

    def _told(self, row: Row) -> dict[str, Any]:
        status = "running" if self._turns.running(row["thread"]) else row["status"]
        named = {"id": row["thread"], "title": row["title"] or "", "status": status, "user": row["user"]}
        return {**named, "created_at": row["created_at"], "updated_at": row["updated_at"]}


class FirstLines:
    """The first lines of conversations' last answers, as last read."""

    def __init__(self, orchestrator: Orchestrator) -> None:
        self._orchestrator = orchestrator
        self._read: dict[str, tuple[float, str]] = {}

    async def of(self, row: Row) -> str:
        """Return a conversation's, redacted; empty: it has none that can be read."""
        thread, at = row["thread"], row["updated_at"]
        if self._read.get(thread, (None,))[0] != at:
            if len(self._read) >= _FIRST_LINES:
                self._read.clear()
            self._read[thread] = (at, await self._first_line(thread))
        return self._read[thread][1]

    async def _first_line(self, thread: str) -> str:
        try:
            response = result_of(thread, await self._orchestrator.snapshot(thread)).response
        except (UnknownThreadError, DamagedThreadError):
            return ""
        lines = (line.strip() for line in self._orchestrator.settings.redact(response).splitlines())
        first = next(filter(None, lines), "")
        return first if len(first) <= _FIRST_LINE else f"{first[:_FIRST_LINE]}…"


def _unknown(thread: str) -> UnknownThreadError:
    return UnknownThreadError(f"There is no conversation {thread!r} of yours.")
