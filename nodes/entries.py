"""A call as the ledger enters it."""

from collections.abc import Iterable
from typing import Any

from ledger.records import Call
from nodes.state import Task
from nodes.turn import Turn


def entries_of(turn: Turn, calls: Iterable[Any]) -> list[Call]:
    """Return the entries for calls (each with `id`, `name`, `args`) of the state's current turn."""
    state = turn.state
    tasks = [
        {"call": c, "args": c["args"], "thread": state.thread, "turn": state.turn, "model": state.planner}
        for c in calls
    ]
    return [entry_of(turn, task) for task in tasks]


def entry_of(turn: Turn, task: Task | dict[str, Any]) -> Call:
    """Return the entry for a task's call, with the arguments that are to run."""
    name = task["call"]["name"]
    tool = turn.res.tools.find(name)
    return Call(
        thread=task["thread"],
        call_id=task["call"]["id"],
        turn=task["turn"],
        user=turn.person.user,
        role=turn.person.role,
        model=task["model"],
        tool=tool.name if tool else name,
        args=task["args"],
        effect=tool.effect if tool else "unknown",
    )
