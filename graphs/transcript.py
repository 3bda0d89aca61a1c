"""What was said in conversations: read, searched, deleted."""

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any

from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.base import BaseCheckpointSaver

from base.errors import DamagedThreadError, UnknownThreadError
from graphs.session import Orchestrator
from models.media import attached
from nodes.turn.history import QUESTION

_SEARCHED_AT_ONCE = 4
_MOST_SEARCHED_CHARS = 30_000_000
"""Of conversations whose words are at hand; the one searched longest ago goes first."""
Row = Mapping[str, Any]
"""A thread, as `Ledger.threads` returns it."""


class ConversationSearch:
    """Finds threads by their titles and by what was said on them."""

    def __init__(self, orchestrator: Orchestrator) -> None:
        self._orchestrator = orchestrator
        self._words = _Words()

    async def holding(self, rows: Iterable[Row], sought: str) -> list[Row]:
        """Return the threads that hold each word that is sought."""
        words = [word.casefold() for word in sought.split()]
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
        return [row for row, is_found in zip(listed, found, strict=True) if is_found]

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


async def delete_conversation(orchestrator: Orchestrator, row: Row) -> None:
    """Delete a conversation; the audit and the usage of it stay.

    Raises:
        BusyThreadError: a turn of it is under way.
    """
    ledger, saver = orchestrator.ledger, orchestrator.graph.checkpointer
    assert isinstance(saver, BaseCheckpointSaver)  # noqa: S101 (what an orchestrator is given)
    async with orchestrator.turns.at_once(row["thread"]):
        await ledger.touch(row["thread"], user=row["user"], status="pruning")
        await saver.adelete_thread(row["thread"])
        await ledger.forget_thread(row["thread"], audit=False)
