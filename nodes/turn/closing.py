"""How a turn ends: an answer, and a machine-made account of what happened."""

from langchain_core.messages import AIMessage

from models.call import Reply
from nodes.events import Token, emit
from nodes.state import State, Update
from nodes.turn.calls import as_receipts, as_tool_calls, records_of
from nodes.turn.stopping import closing_note
from nodes.turn.turn import Turn
from nodes.turn.usage import Meter


async def end_turn(
    turn: Turn, meter: Meter, answer: str, stop_reason: str, reply: Reply | None = None
) -> Update:
    """Return the changes that end a turn with an answer, and note in the ledger that it ended.

    Under the answer of a turn that a limit ended stands a note on that, whatever the model said.

    Args:
        turn: the turn.
        meter: what its last step cost.
        answer: what the person reads first.
        stop_reason: why it ended; see `graphs.result.Result`.
        reply: the model's own reply; None where the words are ours.
    """
    state = turn.state
    message = reply.message if reply else None
    usage = meter.total()
    limit = state.stop_reason if stop_reason == "model_failed" else stop_reason
    if note := closing_note(turn, limit, usage):
        answer = f"{answer}\n\n{note}"
        if reply and (state.path != "two-brain" or state.respond):  # its words were heard as they came
            emit(turn.runtime.stream_writer, Token(f"\n\n{note}"))
    said = AIMessage(answer, id=(message.id if message else None) or f"answer-{state.turn}")
    turn.mark("failed" if stop_reason == "model_failed" else "answered")
    if turn.res.checkpointed is None:  # else it is seen to when the run ends
        await turn.res.settled(state.thread, ended=True)
    return {
        "messages": [said],
        "tail": said.id or "",
        "response": answer,
        "backend": reply.backend if reply else None,
        "stop_reason": stop_reason,
        "usage": usage,
        "calls": [],
        **account_of(state),
    }


def account_of(state: State) -> Update:
    """Return the turn's calls, with receipts for them and for what an earlier turn left untold."""
    records = records_of(state)
    own = {record.call_id for record in records}
    untold = [receipt for receipt in state.receipts if receipt["call_id"] not in own]
    return {"tool_calls": as_tool_calls(records), "receipts": [*untold, *as_receipts(records)]}
