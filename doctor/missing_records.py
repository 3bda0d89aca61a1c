"""What the checkpoints hold and the ledger has no record of: it was lost, or put back from an older copy."""

import asyncio
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from langchain_core.messages import AIMessage
from langgraph.types import StateSnapshot

from base.data_dir import CHECKPOINTS
from base.errors import DamagedThreadError, StorageError, UnknownThreadError
from graphs.session import Orchestrator
from ledger.records import Call, Recorded, Status
from nodes.turn.calls import results_in
from storage.sqlite import why

WHY = "it was lost, or put back from an older copy"


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What the ledger does not know of a conversation."""

    whole: bool
    """It does not know of the conversation at all."""
    calls: Sequence[Any]
    """As the conversation holds them."""


async def forgotten(
    orchestrator: Orchestrator, snapshot: StateSnapshot, row: dict[str, Any] | None
) -> Forgotten | None:
    """Return what the ledger has forgotten of a conversation; None: nothing.

    Args:
        orchestrator: of the data directory.
        snapshot: the conversation.
        row: how the ledger says that the thread stands; None: it does not.
    """
    thread = snapshot.values.get("thread")
    if not thread:
        return None  # no turn of it was ever admitted
    messages = snapshot.values.get("messages", [])
    known = await orchestrator.ledger.known(thread)
    if snapshot.interrupts:  # what it forgot of the question is asked anew when that is answered
        known |= {call["id"] for call in snapshot.values["calls"]} - results_in(messages).keys()
    made = [call for m in messages if isinstance(m, AIMessage) for call in m.tool_calls]
    missing = [call for call in made if call["id"] not in known]
    return Forgotten(row is None, missing) if row is None or missing else None


async def recall(
    orchestrator: Orchestrator, thread_id: str, snapshot: StateSnapshot, lost: Forgotten
) -> None:
    """Enter in the ledger what the conversation tells."""
    values = snapshot.values
    user = (await orchestrator.ledger.thread(thread_id) or values["choices"]).get("user") or "local"
    results = results_in(values["messages"])
    told = []
    for call in lost.calls:
        entry = Call(
            values["thread"], call["id"], values["turn"], user, "", "", call["name"], call["args"], "unknown"
        )
        result = results.get(call["id"])
        told.append((entry, Recorded(cast("Status", result.status), result.text) if result else None))
    await orchestrator.ledger.recall(told)
    if lost.whole:
        title = next((m.text for m in values["messages"] if m.id == values["turn"]), "").strip()[:80]
        await orchestrator.ledger.touch(thread_id, user=user, status="answered", title=title)


async def forgotten_threads(orchestrator: Orchestrator) -> list[str]:
    """Return the conversations that the ledger does not know of."""
    path = orchestrator.settings.data_dir / CHECKPOINTS
    known = {row["thread"] for row in await orchestrator.ledger.threads()}
    kept = await asyncio.to_thread(threads_in, path)
    return [thread for thread in kept if thread not in known and await _is_admitted(orchestrator, thread)]


async def _is_admitted(orchestrator: Orchestrator, thread_id: str) -> bool:
    try:
        return bool((await orchestrator.snapshot(thread_id)).values.get("thread"))
    except (UnknownThreadError, DamagedThreadError):
        return False


def threads_in(path: Path) -> list[str]:
    """Return the ids of the threads that the checkpoints in a file hold; blocks.

    Raises:
        StorageError: it cannot be read.
    """
    if not path.exists():
        return []
    try:
        with closing(sqlite3.connect(path)) as database:
            found = database.execute("SELECT DISTINCT thread_id FROM checkpoints WHERE checkpoint_ns = ''")
            return [thread for (thread,) in found]
    except sqlite3.Error as error:
        raise StorageError(f"The checkpoints {path} cannot be used: {why(error)}.") from error
