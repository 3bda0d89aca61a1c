"""Missing records: what the checkpoints hold and the ledger does not."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

from langgraph.types import StateSnapshot

from base.data_dir import CHECKPOINTS
from base.errors import DamagedThreadError, UnknownThreadError
from doctor.damaged_rows import opened
from graphs.session import Orchestrator
from ledger.records import Call, Recorded, Status
from nodes.turn.history import calls_in, results_in

WHY = "it was lost, or put back from an older copy"


async def find_missing(
    orchestrator: Orchestrator, snapshot: StateSnapshot, row: dict[str, Any] | None
) -> list[Any] | None:
    """Return the calls that the ledger lacks; None: it lacks nothing.

    They are as the conversation holds them. Empty: only the conversation itself is missing, of which the
    ledger has no row.
    """
    thread = snapshot.values.get("thread")
    if not thread:
        return None  # no turn of it was ever admitted
    messages = snapshot.values.get("messages", [])
    known = await orchestrator.ledger.known(thread)
    if snapshot.interrupts:  # what is missing of the question is asked anew when that is answered
        known |= {call["id"] for call in snapshot.values["calls"]} - results_in(messages).keys()
    missing = [call for call in calls_in(messages) if call["id"] not in known]
    return missing if row is None or missing else None


async def record_missing(
    orchestrator: Orchestrator,
    thread_id: str,
    snapshot: StateSnapshot,
    row: dict[str, Any] | None,
    missing: Sequence[Any],
) -> None:
    """Enter in the ledger what the conversation tells."""
    values = snapshot.values
    user = (row or values["choices"]).get("user") or "local"
    results = results_in(values["messages"])
    told = []
    for call in missing:
        made_for = (values["thread"], call["id"], values["turn"], user)
        entry = Call(*made_for, role="", model="", tool=call["name"], args=call["args"], effect="unknown")
        found = results.get(call["id"])
        status = cast("Status", found.status) if found else "unknown"
        told.append((entry, Recorded(status, found.text, found.untrusted) if found else None))
    await orchestrator.ledger.recall(told)
    if row is None:
        title = next((m.text for m in values["messages"] if m.id == values["turn"]), "")
        await orchestrator.ledger.touch(thread_id, user=user, status="answered", title=title)


async def missing_threads(orchestrator: Orchestrator) -> list[str]:
    """Return the conversations that are not in the ledger."""
    known = {row["thread"] for row in await orchestrator.ledger.threads()}
    missing = []
    for thread in await asyncio.to_thread(_threads_in, orchestrator.settings.data_dir / CHECKPOINTS):
        with suppress(UnknownThreadError, DamagedThreadError):
            if thread not in known and (await orchestrator.snapshot(thread)).values.get("thread"):
                missing.append(thread)
    return missing


def _threads_in(path: Path) -> list[str]:
    if not path.exists():
        return []
    with opened(path) as database:
        found = database.execute("SELECT DISTINCT thread_id FROM checkpoints WHERE checkpoint_ns = ''")
        return [thread for (thread,) in found]
