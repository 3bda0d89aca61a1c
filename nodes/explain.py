"""Put into words what a person has to decide, and put it on record."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from langgraph.runtime import Runtime

from base.errors import NoModelAnsweredError
from ledger.records import Call, Lost
from models.call import Ask
from nodes.confirm import remaining
from nodes.context import Context
from nodes.prompt.views import explaining_view
from nodes.state import Planned, State, Update
from nodes.turn.calls import unanswered
from nodes.turn.closing import account_of
from nodes.turn.entries import entry_of
from nodes.turn.turn import Turn, take_up
from nodes.turn.usage import Meter
from tools.declaration import ArgumentsError, Here, Tool

HOW_TO_REJECT = "To reject, give a reason."
_DOUBTFUL = (
    "It is unknown whether this happened: {why}. Look first, where you can. Approve runs it again; if it did "
    "happen, it then happens twice. Reject counts it as done; it is not run again."
)
_CUT_SHORT = "attempt {attempt} was begun on {when} and cut short before its result was recorded"
_FORGOTTEN = "the ledger was lost, or put back from an older copy, and has no record of it"
_DOUBTS = "A call was cut short, and nobody knows whether it happened. Run it again, or count it as done?"


async def explain(state: State, runtime: Runtime[Context]) -> Update:
    """Compose the next request for the round's open calls: what to do about those in doubt, else for consent.

    Reads calls and decisions; writes request, pending and what confirm starts from. The calls are put before
    the person in the ledger too: what was not put there cannot be approved.
    """
    turn = await take_up(state, runtime)
    meter = Meter(turn, "orchestrator")
    waiting = unanswered(state)
    lost = await turn.res.ledger.doubt([_entry(call, turn) for call in waiting], _expiry(turn))
    if lost:
        waiting = [call for call in waiting if call["id"] in lost]
        message = _DOUBTS
        expires_at = min((one.expires_at for one in lost.values() if one.expires_at), default=None)
    else:
        message = await _words(turn, waiting, meter)
        expires_at = await turn.res.ledger.ask([_entry(call, turn) for call in waiting], _expiry(turn))
    await turn.res.ledger.touch(state.thread, user=turn.person.user, status="waiting")
    allowed = ["approve", "reject"] if lost else ["approve", "edit", "reject"]
    request = {
        "action_requests": [await _action(call, turn, lost) for call in waiting],
        "review_configs": [
            {"action_name": name, "allowed_decisions": allowed}
            for name in dict.fromkeys(call["name"] for call in waiting)
        ],
        "message": message,
        "expires_at": expires_at,
    }
    return {
        "request": request,
        "pending": remaining(replace(state, request=request, decisions={})),
        "asked_at": time.time(),
        "decisions": {},
        "usage": meter.total(),
        **account_of(state),
    }


def _expiry(turn: Turn) -> float | None:
    """Return until when an answer counts that is asked for now; None: for good."""
    return time.time() + turn.context.confirm_ttl_s if turn.context.confirm_ttl_s else None


def _entry(call: Planned, turn: Turn) -> Call:
    return entry_of(turn, call, _args(call, turn))


def _args(call: Planned, turn: Turn) -> dict[str, Any]:
    """Return the arguments to ask about: of a call that was begun, those that a person agreed to."""
    decided = turn.state.decisions.get(call["id"])
    return decided["args"] if decided else call["args"]


async def _words(turn: Turn, waiting: Sequence[Planned], meter: Meter) -> str:
    """Return the planner's own words for what waits; the template where it is wanted or the model fails."""
    if turn.context.confirmation == "model":
        view = explaining_view(turn.state, waiting)
        ask = Ask(turn.context.orchestrator, view, turn.person.user, known=turn.res.tools, hidden=True)
        try:
            return (await turn.res.models.call(ask, meter)).message.text.strip()
        except NoModelAnsweredError:  # the exact calls stand in the request all the same
            pass
    names = ", ".join(call["name"] for call in waiting)
    return f"The assistant asks for your consent to: {names}."


async def _action(call: Planned, turn: Turn, lost: Mapping[str, Lost]) -> dict[str, Any]:
    tool, args, doubt = turn.res.tools.find(call["name"]), _args(call, turn), lost.get(call["id"])
    preview = await _preview(tool, turn.here(call["id"]), args) if tool else None
    parts = (_in_doubt(doubt), preview) if doubt else (preview, call["reason"])
    action = {
        "name": call["name"],
        "args": args,
        "arguments": args,
        "description": "\n\n".join(part for part in (*parts, HOW_TO_REJECT) if part),
        "tool_call_id": call["id"],
    }
    return {**action, "attempt": doubt.attempt} if doubt else action


async def _preview(tool: Tool, here: Here, args: dict[str, Any]) -> str | None:
    try:
        return await tool.preview(here, tool.check(args))
    except ArgumentsError:  # the tool has changed since; the call will be told so
        return None


def _in_doubt(doubt: Lost) -> str:
    why = _FORGOTTEN
    if doubt.since is not None:
        when = datetime.fromtimestamp(doubt.since, UTC).strftime("%Y-%m-%d at %H:%M:%S UTC")
        why = _CUT_SHORT.format(attempt=doubt.attempt, when=when)
    return _DOUBTFUL.format(why=why)
