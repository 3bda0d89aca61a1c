"""Put into words what waits for a person's consent, and put it on record."""

import time
from collections.abc import Sequence
from typing import Any

from langgraph.runtime import Runtime

from errors import NoModelAnsweredError
from models.calling import Ask
from nodes.asking import Meter
from nodes.context import Context
from nodes.ending import account_of
from nodes.entries import entries_of
from nodes.state import Planned, State, Update
from nodes.turn import Turn, take_up
from nodes.views import explaining_view

_REJECTING = "To reject, give a reason."


async def explain(state: State, runtime: Runtime[Context]) -> Update:
    """Compose the confirmation request for the round's risky calls.

    Reads calls; writes request, pending and what confirm starts from. The calls are put before the
    person in the ledger too: what was not put there cannot be approved.
    """
    turn = await take_up(state, runtime)
    waiting = [call for call in state.calls if call["verdict"] == "ask"]
    meter = Meter(turn, "orchestrator")
    message = await _words(turn, waiting, meter)
    now = time.time()
    expires_at = now + turn.context.confirm_ttl_s if turn.context.confirm_ttl_s else None
    await turn.res.ledger.ask(entries_of(turn, waiting), expires_at)
    await turn.res.ledger.touch(state.thread, user=turn.person.user, status="waiting")
    request = {
        "action_requests": [await _action(call, turn) for call in waiting],
        "review_configs": [
            {"action_name": name, "allowed_decisions": ["approve", "edit", "reject"]}
            for name in dict.fromkeys(call["name"] for call in waiting)
        ],
        "message": message,
        "expires_at": expires_at,
    }
    return {
        "request": request,
        "pending": request,
        "asked_at": now,
        "decisions": {},
        "problem": "",
        "usage": await meter.total(),
        **account_of(state),
    }


async def _words(turn: Turn, waiting: Sequence[Planned], meter: Meter) -> str:
    """Return the planner's own words for what waits; the template where it is wanted or the model fails."""
    if turn.context.confirmation == "model":
        view = explaining_view(turn.state, waiting)
        ask = Ask(turn.context.orchestrator, view, turn.person.user, hidden=True)
        try:
            return (await turn.res.models.call(ask, meter)).message.text.strip()
        except NoModelAnsweredError:  # the exact calls stand in the request all the same
            pass
    names = ", ".join(call["name"] for call in waiting)
    return f"The assistant asks for your consent to: {names}."


async def _action(call: Planned, turn: Turn) -> dict[str, Any]:
    tool = turn.res.tools.find(call["name"])
    preview = await tool.preview(turn.here(call["id"]), tool.check(call["args"])) if tool else None
    return {
        "name": call["name"],
        "args": call["args"],
        "arguments": call["args"],
        "description": "\n\n".join(part for part in (preview, call["reason"], _REJECTING) if part),
        "tool_call_id": call["id"],
    }
