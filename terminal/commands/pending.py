"""`twobrain pending`: the threads that wait for a person."""

import shlex

from graphs.session import Orchestrator
from terminal.lists import list_threads

_COLUMNS = ("thread_id", "user", "since", "calls", "title")


async def pending(orchestrator: Orchestrator, *, user: str | None, as_json: bool) -> None:
    """List them, the longest waiting first."""
    rows = []
    for row in await orchestrator.pending(user=user):
        names = [action["name"] for action in row["request"]["action_requests"]]
        damaged = f"damaged: see twobrain doctor --thread {shlex.quote(row['thread_id'])}"
        rows.append({**row, "calls": names or [damaged]})
    await list_threads(orchestrator, rows, _COLUMNS, "Nothing waits for you.", as_json=as_json)
