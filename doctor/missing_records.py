"""Missing records: what the checkpoints hold and the ledger does not."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, cast

from langgraph.types import StateSnapshot

from base.errors import DamagedThreadError, UnknownThreadError
from graphs.session import Orchestrator
from ledger.records import Call, Recorded, Status
from nodes.turn.history import calls_in, results_in
from storage.checkpoints.durable import DurableSaver

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
    told, tools = [], await orchestrator.all_tools()
    for call in missing:
        made_for = (values["thread"], call["id"], values["turn"], user)
        made = {"tool": call["name"], "args": call["args"]}
        shared = tools.fingerprint(call["name"], call["args"])
        entry = Call(*made_for, role="", model="", **made, effect="unknown", fingerprint=shared)
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
    saver = orchestrator.graph.checkpointer
    for thread in await saver.threads() if isinstance(saver, DurableSaver) else []:
        with suppress(UnknownThreadError, DamagedThreadError):
            if thread not in known and (await orchestrator.snapshot(thread)).values.get("thread"):
                missing.append(thread)
    return missing
