"""`twobrain pending`: the threads that wait for a person."""

import shlex

from graphs.session import Orchestrator
from terminal.tables import Row, Rows, list_rows

_COLUMNS = {"thread_id": "thread", "user": "user", "since": "since", "calls": "waits for", "title": "title"}


def pending(*, as_json: bool) -> int:
    """List them, the longest waiting first."""

    async def rows(orchestrator: Orchestrator) -> Rows:
        return [{**row, "calls": _calls(row)} for row in await orchestrator.pending()]

    return list_rows(rows, _COLUMNS, "Nothing waits for you.", as_json=as_json, of_threads=True)


def _calls(row: Row) -> list[str]:
    names = [action["name"] for action in row["request"]["action_requests"]]
    return names or [f"damaged: see twobrain doctor --thread {shlex.quote(row['thread_id'])}"]
