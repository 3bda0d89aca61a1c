"""What an answer is told that came when nothing waited for it any more, or something else did."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver

from base.errors import NothingPendingError
from ledger.ledger import Ledger
from nodes.gate.request import remaining
from nodes.state import State
from storage.checkpoints.delta_history import ThreadPosition
from storage.checkpoints.saver import Checkpoints

_ASKING = ("request", "decisions", "problem")
"""What of the state a question consists of."""
_LOOKED_AT = 50
"""Calls of the thread, the newest ones."""
_ENDED = {
    "superseded": "superseded by a newer message, so it did not run",
    "expired": "the approval came too late, so it did not run",
    "executed": "executed",
    "failed": "it failed",
    "unknown": "it is unknown whether it happened",
    "running": "it is running",
    "ready": "it has not run yet",
}


async def position_of(saver: BaseCheckpointSaver[Any], config: RunnableConfig) -> ThreadPosition | None:
    """Return where a thread stands; None: there is no such thread.

    Nothing that was said in it is read, which takes longer than all else until what an answer lets run.
    """
    if isinstance(saver, Checkpoints):
        return await saver.position(config)
    found = await saver.aget_tuple(config)
    if found is None:
        return None
    waiting = frozenset((task, channel) for task, channel, _ in found.pending_writes or ())
    return ThreadPosition(found.checkpoint["id"], waiting)


async def questions(
    saver: BaseCheckpointSaver[Any], config: RunnableConfig, at: ThreadPosition
) -> frozenset[tuple[str, int]]:
    """Return which calls a thread asked about where it stood, each with the attempt in doubt; 0: none is."""
    named = {**config["configurable"], "checkpoint_id": at.checkpoint_id}
    found = await saver.aget_tuple({"configurable": named}) if at.asks else None
    if found is None:
        return frozenset()
    values = found.checkpoint["channel_values"]
    state = State(**{name: values[name] for name in _ASKING if name in values})
    actions = remaining(state)["action_requests"]
    return frozenset((action["tool_call_id"], action.get("attempt", 0)) for action in actions)


async def too_late(ledger: Ledger, thread_id: str, *, asks_else: bool = False) -> NothingPendingError:
    """Return the error that says what became of what was asked last.

    Args:
        ledger: the truth about it.
        thread_id: the conversation.
        asks_else: it waits for an answer, but to a question that came later.
    """
    told = (
        f"Thread {thread_id!r} {'asks something else by now' if asks_else else 'waits for no confirmation'}."
    )
    asked = [row for row in await ledger.audit(thread=thread_id, limit=_LOOKED_AT) if _was_asked(row)]
    last = [row for row in asked if row["turn"] == asked[-1]["turn"]]
    if not last:
        return NothingPendingError(f"{told} `twobrain pending` lists those that do.")
    return NothingPendingError(f"{told} What it asked last: {'; '.join(map(_told, last))}.")


def _was_asked(row: Mapping[str, Any]) -> bool:
    return row["decision"] in {"approved", "edited", "rejected"} or row["status"] == "superseded"


def _told(row: Mapping[str, Any]) -> str:
    ended = _ENDED.get(row["status"], "")
    if not row["decided_by"]:
        return f"{row['tool']} was {ended}"
    when = datetime.fromtimestamp(row["decided_at"], UTC)
    decided = f"{row['tool']} was {row['decision']} by {row['decided_by']} on {when:%Y-%m-%d at %H:%M} UTC"
    return f"{decided}, {ended}" if ended else decided
