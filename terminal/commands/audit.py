"""`twobrain audit`: the tool calls."""

from graphs.session import Orchestrator
from terminal.conversation import thread_of
from terminal.lists import list_rows

_COLUMNS = ("started_at", "thread", "user", "tool", "args", "decision", "decided_by", "status", "duration_ms")


async def audit(
    orchestrator: Orchestrator, thread: str | None, *, user: str | None, limit: int, as_json: bool
) -> None:
    """List them, the newest last."""
    if thread is not None:
        thread = await thread_of(orchestrator.ledger, thread)
    rows = await orchestrator.ledger.audit(thread=thread, user=user, limit=limit)
    zone = orchestrator.settings.zone("local")
    list_rows(rows, _COLUMNS, "No tool was called yet.", as_json=as_json, zone=zone)
