"""`twobrain pending`: the threads that wait for a person."""

import shlex

from graphs.session import Orchestrator
from terminal.lists import Row, list_threads
from terminal.screen import open_screen

_COLUMNS = ("thread_id", "since", "asked_by", "calls", "title")
_HOW = """\
twobrain resume THREAD shows it and asks you; approve THREAD says yes, reject THREAD --reason TEXT no."""


async def pending(orchestrator: Orchestrator, *, user: str | None, as_json: bool) -> None:
    """List them, the longest waiting first."""
    rows = []
    for row in await orchestrator.pending(user=user):
        names = [action["name"] for action in row["request"]["action_requests"]]
        damaged = f"damaged: see twobrain doctor --thread {shlex.quote(row['thread_id'])}"
        rows.append({**row, "calls": names or [damaged]})
    none = "Nothing waits for you."
    await list_threads(orchestrator, rows, _COLUMNS, none, as_json=as_json, for_people=_for_people)
    if rows and not as_json:
        open_screen().side.print(_HOW, style="dim")


def _for_people(row: Row) -> Row:
    """Return a thread with the calls that wait, each with its arguments."""
    actions = row["request"]["action_requests"]
    calls = [
        f"{each['name']} {', '.join(f'{name}={value}' for name, value in each['args'].items())}".rstrip()
        for each in actions
    ]
    return {**row, "asked_by": row["user"], "calls": "; ".join(calls) or row["calls"]}
