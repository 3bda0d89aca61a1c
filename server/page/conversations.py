"""Conversations as the page shows them: listed, searched, read, changed."""

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any

from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.base import BaseCheckpointSaver

from base.errors import BusyThreadError, DamagedThreadError, UnknownThreadError
from graphs.result import condition_of, result_of
from graphs.session import Orchestrator
from models.media import attached
from nodes.gate.request import identity_of
from nodes.turn.history import QUESTION
from server.page.live_turns import UNDER_WAY, LiveTurns, shown
from server.page.sign_in import PageUser

_SEARCHED_AT_ONCE = 4
_MOST_SEARCHED_CHARS = 30_000_000
"""Of conversations whose words are at hand; the one searched longest ago goes first."""
Row = Mapping[str, Any]


class Conversations:
    """The ledger's threads, and what was said on them."""

    def __init__(self, orchestrator: Orchestrator, turns: LiveTurns) -> None:
        self._orchestrator = orchestrator
        self._turns = turns
        self._words = _Words()

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
        if words := sought.split():
            found = await self._search(rows, [word.casefold() for word in words])
            rows = [row for row in rows if row["thread"] in found]
        return [self._told(row) for row in sorted(rows, key=lambda row: row["updated_at"], reverse=True)]

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
        ledger, saver = self._orchestrator.ledger, self._orchestrator.graph.checkpointer
        assert isinstance(saver, BaseCheckpointSaver)  # noqa: S101 (what an orchestrator is given)
        try:
            async with self._orchestrator.turns.at_once(row["thread"]):
                await ledger.touch(row["thread"], user=row["user"], status="pruning")
                await saver.adelete_thread(row["thread"])
                await ledger.forget_thread(row["thread"], audit=False)
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

    async def _search(self, rows: Iterable[Row], words: list[str]) -> set[str]:
        """Return the threads that hold each of some words."""
        gate = asyncio.Semaphore(_SEARCHED_AT_ONCE)

        async def holds(row: Row) -> bool:
            title = (row["title"] or "").casefold()
            if all(word in title for word in words):
                return True
            async with gate:
                said = await self._said(row)
            return all(word in title or word in said for word in words)

        listed = list(rows)
        found = await asyncio.gather(*map(holds, listed))
        return {row["thread"] for row, is_found in zip(listed, found, strict=True) if is_found}

    async def _said(self, row: Row) -> str:
        """Return what was said on a thread, folded for a search."""
        key = (row["thread"], row["updated_at"])
        if (words := self._words.get(key)) is None:
            try:
                values = (await self._orchestrator.snapshot(row["thread"])).values
            except (UnknownThreadError, DamagedThreadError):
                values = {}
            words = "\n".join(message["text"] for message in messages_of(values)).casefold()
            self._words.put(key, words)
        return words


class _Words:
    """A cache of what was said on threads, up to a size."""

    def __init__(self) -> None:
        self._by_thread: OrderedDict[str, tuple[float, str]] = OrderedDict()
        self._chars = 0

    def get(self, key: tuple[str, float]) -> str | None:
        """Return a thread's words; None: they are not at hand."""
        thread, at = key
        if self._by_thread.get(thread, (None,))[0] != at:
            return None
        self._by_thread.move_to_end(thread)
        return self._by_thread[thread][1]

    def put(self, key: tuple[str, float], words: str) -> None:
        """Have a thread's words at hand."""
        thread, at = key
        self._chars += len(words) - len(self._by_thread.pop(thread, (0.0, ""))[1])
        self._by_thread[thread] = (at, words)
        while self._chars > _MOST_SEARCHED_CHARS and len(self._by_thread) > 1:
            _, (_, gone) = self._by_thread.popitem(last=False)
            self._chars -= len(gone)


def messages_of(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what was said as a person heard it.

    What a planner wrote beside its calls was heard where it also writes the answer.
    """
    found: list[dict[str, Any]] = []
    heard_beside = values.get("path") == "single"
    for message in values.get("messages", ()):
        if isinstance(message, HumanMessage):
            files = [
                {"name": each.name, "type": str(block.get("mime_type") or block.get("type") or "")}
                for block, each in attached(message.content)
            ]
            found.append({"role": "user", "text": message.text, "attachments": files})
        elif isinstance(message, AIMessage) and (text := message.text.strip()):
            if message.additional_kwargs.get(QUESTION) or (message.tool_calls and not heard_beside):
                continue
            if found and found[-1]["role"] == "assistant":
                found[-1]["text"] += f"\n\n{text}"
            else:
                found.append({"role": "assistant", "text": text, "attachments": []})
    return found


def _unknown(thread: str) -> UnknownThreadError:
    return UnknownThreadError(f"There is no conversation {thread!r} of yours.")
