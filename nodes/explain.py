"""Put into words, and on record, what a person has to decide."""

from collections.abc import Sequence
from dataclasses import replace

from langgraph.runtime import Runtime

from base.errors import NoModelAnsweredError
from models.call import Ask
from nodes.context import Context
from nodes.gate.request import (
    CONSENT,
    DOUBTS,
    above_the_card,
    arguments_asked_about,
    remaining,
    request_for,
)
from nodes.prompt.views import explaining_prompt
from nodes.state import JudgedCall, State, Update, appended
from nodes.turn.closing import account_of
from nodes.turn.meter import Meter
from nodes.turn.turn import Turn, take_up


async def explain(state: State, runtime: Runtime[Context]) -> Update:
    """Compose the request for the round's open calls, those in doubt first.

    Reads calls and decisions; writes request, pending, what confirm starts from and, on a server, a message
    that says so. The calls are put before the person in the ledger too: what was not put there cannot be
    approved.
    """
    turn = await take_up(state, runtime)
    meter = Meter(turn, "explanation")
    waiting, ledger = turn.unanswered(), turn.res.ledger
    ttl = turn.context.confirm_ttl_s
    expiry = ledger.now() + ttl if ttl else None
    entries = [turn.ledger_call(call, arguments_asked_about(call, turn)) for call in waiting]
    lost = await ledger.ask_again(entries, expiry)
    if lost:
        waiting = [call for call in waiting if call["id"] in lost]
        message = ours = DOUBTS
        expires_at = min((one.expires_at for one in lost.values() if one.expires_at), default=None)
    else:
        ours = CONSENT.format(tools=", ".join(call["name"] for call in waiting))
        message = await _words(turn, waiting, meter) or ours
        expires_at = await ledger.ask(entries, expiry)
    await ledger.touch(turn.thread_id, user=turn.person.user, status="waiting")
    request = await request_for(turn, waiting, lost, message, expires_at)
    return {
        **appended(above_the_card(turn, ours)),
        "request": request,
        "pending": remaining(replace(state, request=request, decisions={})),
        "asked_at": ledger.now(),
        "decisions": {},
        **meter.total(),
        **account_of(turn.history.finished(), state.receipts),
    }


async def _words(turn: Turn, waiting: Sequence[JudgedCall], meter: Meter) -> str:
    """Return the planner's words for what waits; empty: it has none."""
    chosen = turn.context.confirmation
    if chosen == "template" or (chosen == "auto" and turn.runtime.server_info):
        return ""
    prompt = explaining_prompt(turn, waiting)
    ask = Ask(turn.context.orchestrator, prompt, turn.person.user, known=turn.res.tools, hidden=True)
    try:
        return (await meter.ask(ask)).message.text.strip()
    except NoModelAnsweredError:  # the exact calls stand in the request all the same
        return ""
