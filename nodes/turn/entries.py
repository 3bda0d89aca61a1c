"""A call as the ledger enters it."""

from collections.abc import Iterable
from typing import Any

from ledger.records import Call
from nodes.turn.turn import Turn


def entries_of(turn: Turn, calls: Iterable[Any]) -> list[Call]:
    """Return the entries for calls (each with `id`, `name`, `args`) of the state's current turn."""
    return [entry_of(turn, call, call["args"]) for call in calls]


def entry_of(turn: Turn, call: Any, args: dict[str, Any]) -> Call:
    """Return the entry for a call, with the arguments that are to run."""
    tool = turn.res.tools.find(call["name"])
    return Call(
        thread=turn.state.thread,
        call_id=call["id"],
        turn=turn.state.turn,
        user=turn.person.user,
        role=turn.person.role,
        model=turn.state.planner,
        tool=tool.name if tool else call["name"],
        args=args,
        effect=tool.effect if tool else "unknown",
    )
