"""`twobrain audit`: the tool calls, who decided, how long they took."""

from collections.abc import Mapping
from functools import partial

from base.settings import LOCAL
from graphs.session import Orchestrator
from terminal.conversation import thread_of
from terminal.lists import Row, list_rows

_COLUMNS = ("when", "tool", "status", "args", "asked_by", "decided", "duration_ms", "thread")


async def audit(
    orchestrator: Orchestrator, thread: str | None, *, user: str | None, limit: int, as_json: bool
) -> None:
    """List them, the newest last."""
    if thread is not None:
        thread = await thread_of(orchestrator.ledger, thread)
    rows = await orchestrator.ledger.audit(thread=thread, user=user, limit=limit)
    since = {
        row["thread"]: row["waiting_since"] for row in await orchestrator.ledger.threads(status="waiting")
    }
    list_rows(
        rows,
        _COLUMNS,
        "No tool was called yet.",
        as_json=as_json,
        for_people=partial(_for_people, since),
        zone=orchestrator.settings.zone(user or LOCAL),
    )


def _for_people(waiting_since: Mapping[str, float], row: Row) -> Row:
    """Return a call with when it began, was decided, or asked about."""
    decided = " by ".join(filter(None, (row["decision"], row["decided_by"])))
    when = row["started_at"] or row["decided_at"]
    if row["status"] == "waiting":
        when = waiting_since.get(row["thread"])
    return {**row, "when": when, "asked_by": row["user"], "decided": decided}
