"""Ask the planner once: for more tool calls, or the end."""

from functools import partial

from langgraph.runtime import Runtime

from base.errors import NoModelAnsweredError
from ledger.usage import PLANNER
from models.call import Ask, Reply
from models.media import media_in
from nodes.context import Context
from nodes.gate.judge import judge_round
from nodes.prompt import instructions
from nodes.prompt.compaction import chars_of
from nodes.prompt.tool_choice import offer
from nodes.prompt.views import View, finishing_view, messages_by, planner_view
from nodes.state import State, Update, appended
from nodes.turn.closing import account_of, end_turn
from nodes.turn.history import as_list
from nodes.turn.limits import last_try, limit_reached, on_record, stopped
from nodes.turn.meter import Meter
from nodes.turn.turn import Turn, take_up


async def plan(state: State, runtime: Runtime[Context]) -> Update:
    """Ask the planner for its next step, or its last.

    Reads the turn so far; writes the planner's message with its judged calls, or the summary (two-brain)
    or answer (single) that ends the loop. While calls of the last round have no result, those alone: the
    person is asked about them.
    """
    turn = await on_record(await take_up(state, runtime))
    if unanswered := turn.unanswered():
        return {"calls": [{**call, "verdict": "ask"} for call in unanswered]}
    if is_first := not turn.state.rounds:  # what the person said is not lost, whatever becomes of the rest
        await turn.res.settled(turn.thread_id)
    meter = Meter(turn, PLANNER)
    limit = limit_reached(turn)
    ask = await _request(turn, limit)
    if (is_first or not limit) and (day := await meter.begin(ask)):
        if is_first:
            return await end_turn(turn, meter, day.refusal(), day.reason)
        limit, ask = day.reason, await _request(turn, day.reason)
    try:
        reply, limit = await _answer(turn, meter, ask, limit)
    except NoModelAnsweredError as error:
        return await _without_model(turn, meter, limit or limit_reached(turn), str(error))
    if limit or not reply.message.tool_calls:
        return await _concluded(turn, meter, limit, reply)
    judged = await judge_round(turn, reply)
    return {
        **appended([judged.message]),
        "calls": judged.calls,
        "taint": judged.taint,
        "planner": reply.backend,
        "rounds": turn.state.rounds + 1,
        **meter.total(),
    }


async def _request(turn: Turn, limit: str | None) -> Ask:
    """Return the request to the planner, at a limit without tools."""
    tools, tools_chars = offer(turn) if not limit else ([], 0)
    last = partial(finishing_view, turn, stopped(turn, limit))
    view: View = last if limit else partial(planner_view, turn, tools_chars)
    prompt = await view(chars_of(turn.planner))
    return Ask(
        role=turn.context.orchestrator,
        messages=prompt.messages,
        fit=partial(messages_by, view),
        chars=prompt.chars,
        user=turn.person.user,
        tools=tools,
        known=turn.res.tools,
        taken=turn.call_ids(),
        hidden=turn.state.path != "single",
        described=not media_in([turn.history.request]),
        deadline=last_try(turn),
    )


async def _answer(turn: Turn, meter: Meter, ask: Ask, limit: str | None) -> tuple[Reply, str | None]:
    """Return the reply and its limit; past the deadline, a last word.

    Raises:
        NoModelAnsweredError: no model did.
    """
    try:
        return await meter.ask(ask), limit
    except NoModelAnsweredError:
        if limit or limit_reached(turn) != "deadline":
            raise
    return await meter.ask(await _request(turn, "deadline")), "deadline"


async def _concluded(turn: Turn, meter: Meter, limit: str | None, reply: Reply) -> Update:
    """End the loop with the planner's words: a summary or the answer."""
    words = reply.message.text.strip()
    rounds = turn.state.rounds + 1
    if turn.state.path == "single":
        return {**await end_turn(turn, meter, words, limit or "answered", reply), "rounds": rounds}
    summary = "" if words == instructions.NOTHING_GATHERED else words
    if turn.state.respond:
        told = f"{summary}\n{instructions.CUT_OFF}" if reply.is_cut else summary
        return _handoff(turn, meter, told, limit)
    ended = await end_turn(turn, meter, words, limit or "answered", reply)
    return {**ended, "rounds": rounds, "summary": summary}


def _handoff(turn: Turn, meter: Meter, summary: str, reason: str | None) -> Update:
    return {
        **account_of(turn.history.finished(), turn.state.receipts),
        "summary": summary,
        "calls": [],
        "rounds": turn.state.rounds + 1,
        "stop_reason": reason,
        **meter.total(),
    }


async def _without_model(turn: Turn, meter: Meter, limit: str | None, why: str) -> Update:
    """End the loop without a planner: list what was gathered, and why."""
    finished = turn.history.finished()
    if not finished:
        return await end_turn(turn, meter, why, "model_failed")
    told = f"{why}\n\nWhat was done until then:\n{as_list(finished)}"
    if turn.state.path == "two-brain" and turn.state.respond:
        return _handoff(turn, meter, told, limit or "model_failed")
    return await end_turn(turn, meter, told, limit or "model_failed")
