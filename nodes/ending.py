"""How a turn ends: an answer, and a machine-made account of what happened."""

from langchain_core.messages import AIMessage

from models.calling import Reply
from nodes.asking import Meter
from nodes.records import as_receipts, as_tool_calls, records_of
from nodes.state import State, Update
from nodes.turn import Turn


async def end_turn(
    turn: Turn, meter: Meter, answer: str, stop_reason: str, reply: Reply | None = None
) -> Update:
    """Return the changes that end a turn with an answer, and note in the ledger that it ended.

    Args:
        turn: the turn.
        meter: what its last step cost.
        answer: what the person reads.
        stop_reason: why it ended; see `graphs.events.Result`.
        reply: the model's own reply; None where the words are ours.
    """
    state = turn.state
    message = reply.message if reply else None
    said = AIMessage(answer, id=(message.id if message else None) or f"answer-{state.turn}")
    await turn.mark("failed" if stop_reason == "model_failed" else "answered")
    return {
        "messages": [said],
        "tail": said.id or "",
        "response": answer,
        "backend": reply.backend if reply else None,
        "stop_reason": stop_reason,
        "usage": await meter.total(),
        "calls": [],
        **account_of(state),
    }


def account_of(state: State) -> Update:
    """Return the turn's calls and receipts so far."""
    records = records_of(state)
    return {"tool_calls": as_tool_calls(records), "receipts": as_receipts(records)}
