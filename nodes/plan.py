"""One call to the planner: the next round of tool calls, or the end of the loop."""

from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

from langchain_core.messages import AIMessage
from langgraph.runtime import Runtime

from base.errors import NoModelAnsweredError
from models.call import Ask, Reply
from models.replies import MALFORMED, renumbered
from nodes.context import Context
from nodes.gate.judge import basis_of, read_on, remembered
from nodes.gate.repeats import objections_to
from nodes.kept import Kept
from nodes.prompt import instructions
from nodes.prompt.tool_choice import offer
from nodes.prompt.views import finishing_view, planner_view
from nodes.state import Basis, Planned, State, Update, Verdict
from nodes.turn.calls import as_list, records_of, unanswered
from nodes.turn.closing import account_of, end_turn
from nodes.turn.entries import entries_of
from nodes.turn.limits import calls_left, last_try, spent
from nodes.turn.long_results import look
from nodes.turn.stopping import stopped
from nodes.turn.turn import Turn, take_up
from nodes.turn.usage import Meter, View, prompt_of
from tools.declaration import ArgumentsError
from tools.policy.decision import Allow, Confirm, Ruling, decide
from tools.policy.rules import Rule, used

_TOO_MANY = "The limit of tool calls for this turn is reached."


async def plan(state: State, runtime: Runtime[Context]) -> Update:
    """Ask the planner for the next step; at a limit, for a last word without tools.

    Reads the turn so far; writes the planner's message with its judged calls, or the summary (two-brain)
    or answer (single) that ends the loop. While calls of the last round have no result, those alone: the
    person is asked about them.
    """
    if left := unanswered(state):
        return {"calls": [{**call, "verdict": "ask"} for call in left]}
    turn = await take_up(state, runtime)
    if not state.rounds:  # what the person said is not lost, whatever becomes of what follows from it
        await turn.res.settled(state.thread)
    meter = Meter(turn, "orchestrator")
    limit = spent(turn)
    ask = await (_last_word(turn, limit) if limit else _next_step(turn))
    if (not limit or not state.rounds) and (day := await meter.begin(ask)):
        if not state.rounds:
            return await end_turn(turn, meter, day.refusal(), day.reason)
        limit = day.reason
        ask = await _last_word(turn, limit)
    try:
        reply = await turn.res.models.call(ask, meter)
    except NoModelAnsweredError as error:
        if limit or spent(turn) != "deadline":
            return await _without_model(turn, meter, limit, str(error))
        return await _overdue(turn, meter)
    if limit or not reply.message.tool_calls:
        return await _concluded(turn, meter, limit, reply)
    basis = basis_of(turn)
    message, calls = await _judged(reply, turn, basis)
    return {
        "messages": [message],
        "tail": message.id or "",
        "calls": calls,
        "basis": basis,
        "planner": reply.backend,
        "rounds": state.rounds + 1,
        "usage": meter.total(),
    }


async def _overdue(turn: Turn, meter: Meter) -> Update:
    """End a turn whose deadline cut the planner short: it gets a last word."""
    try:
        reply = await turn.res.models.call(await _last_word(turn, "deadline"), meter)
    except NoModelAnsweredError as error:
        return await _without_model(turn, meter, "deadline", str(error))
    return await _concluded(turn, meter, "deadline", reply)


async def _next_step(turn: Turn) -> Ask:
    tools = offer(turn)
    shown = partial(look, turn.res.artifacts, turn.person.user)
    return await _ask(turn, partial(planner_view, turn.state, turn.context, tools, shown), tools)


async def _last_word(turn: Turn, limit: str) -> Ask:
    view = partial(finishing_view, turn.state, turn.context, stopped(turn, limit))
    return await _ask(turn, view, [])


async def _ask(turn: Turn, view: View, tools: Sequence[dict[str, Any]]) -> Ask:
    prompt, chars = await prompt_of(turn, view, turn.planner, tools)
    return Ask(
        role=turn.context.orchestrator,
        messages=prompt,
        fit=view,
        chars=chars,
        user=turn.person.user,
        tools=tools,
        known=turn.res.tools,
        taken=_taken(turn.state),
        hidden=turn.state.path != "single",
        deadline=last_try(turn),
    )


def _taken(state: State) -> Collection[str]:
    """Return the ids of all calls that the conversation holds; with them may come those of a fork of it."""
    count, known = _call_ids.get(state.thread, state.messages) or (0, set())
    new = (m for m in state.messages[count:] if isinstance(m, AIMessage))
    known.update(c["id"] or "" for m in new for c in m.tool_calls)
    return _call_ids.put(state.thread, state.messages, known)


_call_ids: Kept[set[str]] = Kept()


async def _judged(reply: Reply, turn: Turn, basis: Basis) -> tuple[AIMessage, list[Planned]]:
    """Return the message with its calls in the ledger, and what policy says of each.

    Where all are reads that will run, nobody waits for the ledger: they may run again.
    """
    made = replace(turn, state=replace(turn.state, planner=reply.backend))
    calls = _judged_by(reply.message, turn, basis, [])
    if all(_is_read(call, turn) for call in calls):
        turn.res.ledger.reads.plan(entries_of(made, reply.message.tool_calls))
        return reply.message, calls
    message = await _entered(reply.message, made)
    # A remembered rule can only let run what would ask.
    rules = await remembered(turn) if any(call["verdict"] == "ask" for call in calls) else []
    return message, _judged_by(message, turn, basis, rules)


async def _entered(message: AIMessage, turn: Turn) -> AIMessage:
    """Return the message with its calls in the ledger, under ids that it did not know in this thread.

    It may, where the thread's checkpoints were lost, rewound or forked and the model numbers its calls: an
    old outcome would then pass for that of the new call.
    """
    while taken := await turn.res.ledger.enter(entries_of(turn, message.tool_calls)):
        message = renumbered(message, taken)
    return message


def _is_read(call: Planned, turn: Turn) -> bool:
    """Tell whether a call is a read that will run: it may run again, so nothing on record matters to it."""
    tool = turn.res.tools.find(call["name"])
    if tool is None or tool.effect != "read" or call["verdict"] != "run" or call["problem"]:
        return False
    with suppress(ArgumentsError):
        tool.check(call["args"])
        return True
    return False


def _judged_by(message: AIMessage, turn: Turn, basis: Basis, rules: list[Rule]) -> list[Planned]:
    problems = message.additional_kwargs.get(MALFORMED, {})
    left = calls_left(turn)
    again = objections_to(message, turn)
    judged = []
    for number, call in enumerate(message.tool_calls):
        problem = problems.get(call["id"])
        refusal = _TOO_MANY if left is not None and number >= left else again.get(call["id"] or "")
        if refusal:
            judged.append(_planned(call, problem, "refuse", refusal))
            continue
        verdict = None if problem else _verdict(call, turn, basis, rules)
        if isinstance(verdict, Allow) and verdict.rule:
            rules = used(rules, verdict.rule)
        asked = verdict.reason if isinstance(verdict, Confirm) else ""
        judged.append(_planned(call, problem, "ask" if asked else "run", asked))
    return judged


def _planned(call: Any, problem: str | None, verdict: Verdict, reason: str) -> Planned:
    return {
        "id": call["id"],
        "name": call["name"],
        "args": call["args"],
        "problem": problem,
        "verdict": verdict,
        "reason": reason,
    }


def _verdict(call: Any, turn: Turn, basis: Basis, rules: list[Rule]) -> Ruling | None:
    """Return what policy says of a call; None where the model is told instead, for it cannot run."""
    tool = turn.res.tools.find(call["name"])
    try:
        args = tool.check(call["args"]) if tool else {}
    except ArgumentsError:
        return None
    return decide(turn.person, tool, call["name"], args, read_on(basis), rules)


async def _concluded(turn: Turn, meter: Meter, limit: str | None, reply: Reply) -> Update:
    """End the loop with the planner's words: the handoff's summary, or the answer itself."""
    words = reply.message.text.strip()
    if turn.state.path == "single":
        ended = await end_turn(turn, meter, words, limit or "answered", reply)
        return {**ended, "rounds": turn.state.rounds + 1}
    summary = "" if words == instructions.NOTHING_GATHERED else words
    if turn.state.respond:
        return await _handoff(turn, meter, summary, limit)
    ended = await end_turn(turn, meter, words, limit or "answered", reply)
    return {**ended, "rounds": turn.state.rounds + 1, "summary": summary}


async def _handoff(turn: Turn, meter: Meter, summary: str, reason: str | None) -> Update:
    return {
        **account_of(turn.state),
        "summary": summary,
        "calls": [],
        "rounds": turn.state.rounds + 1,
        "stop_reason": reason,
        "usage": meter.total(),
    }


async def _without_model(turn: Turn, meter: Meter, limit: str | None, why: str) -> Update:
    """End the loop where no planner answered: with a plain list of what was gathered, and why."""
    records = records_of(turn.state)
    if not records:
        return await end_turn(turn, meter, why, "model_failed")
    told = f"{why}\n\nWhat was done until then:\n{as_list(records)}"
    if turn.state.path == "two-brain" and turn.state.respond:
        return await _handoff(turn, meter, told, limit or "model_failed")
    return await end_turn(turn, meter, told, limit or "model_failed")
