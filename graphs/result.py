"""How a turn stands or ended, from what the graph keeps of its thread."""

from collections.abc import Mapping
from typing import Any

from langgraph.types import StateSnapshot

from graphs.damage import sound
from graphs.events import Result
from nodes.gate.request import remaining
from nodes.state import State
from nodes.turn.calls import read_turn
from nodes.turn.closing import account_of

_TOLD = ("response", "tool_calls", "backend", "summary", "receipts", "pending", "usage", "stop_reason")


def ended(thread_id: str, values: Mapping[str, Any]) -> Result | None:
    """Return how a turn ended, by what its last checkpoint holds; None where it has no answer yet."""
    return _result(thread_id, values) if values.get("response") else None


def is_under_way(snapshot: StateSnapshot) -> bool:
    """Tell whether there are steps to go that wait for nobody: the turn is running, or was cut short.

    Not `next`: it leaves out the tasks that finished before their checkpoint could be written.
    """
    return bool(snapshot.tasks) and not snapshot.interrupts


def result_of(thread_id: str, snapshot: StateSnapshot) -> Result:
    """Return how the thread's last turn stands.

    Raises:
        DamagedThreadError: what is stored of it cannot be read.
    """
    with sound(thread_id):
        state = State(**snapshot.values)
        finished = read_turn(state.messages, state.turn).finished()
        account = account_of(finished, state.receipts)
        pending = remaining(state) if snapshot.interrupts else None
    return _result(thread_id, {**vars(state), **account, "pending": pending})


def _result(thread_id: str, values: Mapping[str, Any]) -> Result:
    return Result(thread_id=thread_id, **{name: values[name] for name in _TOLD})
