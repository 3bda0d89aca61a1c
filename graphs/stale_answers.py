"""Stale answers: what they would answer is decided already, or was replaced."""

from collections.abc import Mapping
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.serde.types import INTERRUPT

from base.errors import NothingPendingError
from ledger.ledger import Ledger
from nodes.gate.request import identity_of, remaining
from nodes.state import State
from storage.thread_lock import ThreadLocks

_CALLS_LOOKED_THROUGH = 50
"""Calls of the thread that are looked through for what was asked last."""
_DECIDED = {"approved", "edited", "rejected"}
_ENDED_WORDS = {
    "superseded": "superseded by a newer message, so it did not run",
    "expired": "the approval came too late, so it did not run",
    "executed": "executed",
    "failed": "it failed",
    "unknown": "it is unknown whether it happened",
    "running": "it is running",
    "ready": "it has not run yet",
}


async def question(saver: BaseCheckpointSaver[Any], config: RunnableConfig) -> str | None:
    """Return the identity of what a thread asks.

    Empty: it asks nothing. None: there is no such thread. The conversation is not read for it.
    """
    found = await saver.aget_tuple(config)
    if found is None:
        return None
    if not any(channel == INTERRUPT for _, channel, _ in found.pending_writes or ()):
        return ""
    values = found.checkpoint["channel_values"]
    state = State(**{each.name: values[each.name] for each in fields(State) if each.name in values})
    return identity_of(remaining(state))


async def answered_question(
    turns: ThreadLocks, saver: BaseCheckpointSaver[Any], config: RunnableConfig
) -> str:
    """Return which question an answer that came just now is for.

    Empty: none. While it is read, a turn here may end, and ask what the answer came before.
    """
    choices = config["configurable"]
    has_moved = turns.watch_turns(str(choices["thread_id"]))
    asked = await question(saver, config) or ""
    return "" if has_moved() and not choices.get("checkpoint_id") else asked


async def stale_answer(ledger: Ledger, thread_id: str, *, asks_else: bool = False) -> NothingPendingError:
    """Return the error that says what became of what was asked last.

    `asks_else`: the thread waits for an answer, but to a question that came later.
    """
    stands = "asks something else by now" if asks_else else "waits for no confirmation"
    told = f"Thread {thread_id!r} {stands}."
    rows = await ledger.audit(thread=thread_id, limit=_CALLS_LOOKED_THROUGH)
    asked = [row for row in rows if row["decision"] in _DECIDED or row["status"] == "superseded"]
    last = [row for row in asked if row["turn"] == asked[-1]["turn"]]
    if not last:
        return NothingPendingError(f"{told} `twobrain pending` lists those that do.")
    return NothingPendingError(f"{told} What it asked last: {'; '.join(map(_told, last))}.")


def _told(row: Mapping[str, Any]) -> str:
    ended = _ENDED_WORDS.get(row["status"], "")
    if not row["decided_by"]:
        return f"{row['tool']} was {ended}"
    when = datetime.fromtimestamp(row["decided_at"], UTC)
    decided = f"{row['tool']} was {row['decision']} by {row['decided_by']} on {when:%Y-%m-%d at %H:%M} UTC"
    return f"{decided}, {ended}" if ended else decided
