"""Undo: a gated call that puts back what an earlier one changed."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from langgraph.runtime import Runtime
from langgraph.store.base import BaseStore

from base.errors import UndoError
from base.texts import local_time
from base.worker_threads import in_thread
from graphs.result import Result
from ledger.records import Lost
from nodes.confirm import decided, permitted
from nodes.context import Context, person_of
from nodes.execute_tools import settle
from nodes.gate.answers import Approve, Reading, read
from nodes.gate.request import DOUBTS, request_for
from nodes.resources import Resources
from nodes.state import JudgedCall, State, Task
from nodes.turn.history import read_turn
from nodes.turn.turn import Turn
from nodes.turn.undo_log import UNDO, Undoable, UndoLog
from tools.declaration import WHY_NOT, Here, Tool, ToolFailure, Undo, tool
from tools.policy.decision import Deny, decide
from tools.registry import Registry

_NOT_RUN = {
    "denied": "It was denied, so there is nothing to undo.",
    "expired": "It expired before anybody agreed, so there is nothing to undo.",
    "superseded": "It was not run, for a newer message came, so there is nothing to undo.",
    "failed": "It failed, so there is nothing to undo.",
    "unknown": "Nobody knows whether it happened, so nothing of it is undone. Look first.",
    "lost": "It was cut short, and nobody knows whether it happened: go on with its conversation first.",
    "running": "It is running just now.",
}
_NOT_YET = "It has not been run, so there is nothing to undo."
_UNDONE_ALREADY = {
    "executed": "It was undone already.",
    "unknown": "It may have been undone already: nobody knows, so it is not undone again. Look first.",
}
_NO_UNDO_DECLARED = "{tool} does not say how a call of it is undone."
_NO_RECORD = (
    "What would undo it is not there any more: a hundred such calls came after it, or its conversation was "
    "deleted."
)
_CANNOT = "The call {call!r} of {tool} cannot be undone. {why}"
_NO_EDIT = "Undoing takes a yes or a no; nothing of it can be edited."
_REQUEST = "This undoes what {tool} did on {when}."


async def undo(  # noqa: PLR0913 (what is undone, and who says so)
    res: Resources, store: BaseStore | None, named: str, answer: Any, *, thread: str | None, user: str
) -> Result:
    """Ask about an undo, or run it. Raises as `Orchestrator.undo`."""
    found, way = await _named(res, named, thread, user)
    turn, call = _turn_of(res, store, found, user)
    lost: dict[str, Lost] = {}
    if found.undo_status in {"running", "lost"}:  # looked up, or waited for, before anybody is asked
        if outcome := await settle(_task(turn, call), turn):
            return _told(turn, call, outcome.status, outcome.text)
        lost = await res.ledger.ask_again([turn.ledger_call(call)], None)
    if not lost:
        await _check(turn, found, way)
    request = await _request(turn, call, found, lost)
    if answer is None:
        return _asks(turn, request)
    turn = replace(turn, state=replace(turn.state, request=request))
    reading = permitted(turn, read(answer, request["action_requests"], lambda _name, _args: _NO_EDIT))
    return await _answered(turn, call, reading) or await undo(
        res, store, named, None, thread=thread, user=user
    )


async def _answered(turn: Turn, call: JudgedCall, reading: Reading) -> Result | None:
    """Return what came of an answer; None: ask anew."""
    request, entry = turn.state.request, turn.ledger_call(call)
    if not reading.choices:
        return _asks(turn, request, reading.problem)
    if "attempt" not in request["action_requests"][0]:
        await turn.res.ledger.enter([entry])
        await turn.res.ledger.ask([entry], None)
    plainly = {key: Approve() if isinstance(each, Approve) else each for key, each in reading.choices.items()}
    _, refused, problem = await decided(turn, replace(reading, choices=plainly))
    if problem:
        return _asks(turn, request, problem)
    if refused:
        return _told(turn, call, refused[0].artifact["status"], refused[0].text)
    outcome = await settle(_task(turn, call), turn)
    return _told(turn, call, outcome.status, outcome.text) if outcome else None


async def undoable(res: Resources, user: str) -> list[Undoable]:
    """Return the calls that a user may undo, the newest first."""
    found = await UndoLog(res.ledger).find(_whose(res, user))
    return [each for each in found if _why_not(res, each) is None]


def _whose(res: Resources, user: str) -> list[str]:
    """Return a user and those for whom they approve."""
    res.settings.user(user)
    return [user, *(name for name, card in res.settings.users.items() if user in card.approvers)]


async def _named(res: Resources, named: str, thread: str | None, user: str) -> tuple[Undoable, Undo]:
    """Return a call, and how it is undone.

    Raises:
        UndoError: there is not exactly one, or it cannot be undone.
    """
    found = await UndoLog(res.ledger).find(_whose(res, user), named, thread)
    if not found:
        raise UndoError(f"{user} has no call {named!r}. `twobrain undo --list` shows what can be undone.")
    if len(found) > 1:
        threads = ", ".join(each.call.thread for each in found)
        raise UndoError(f"There are several calls {named!r}; say which thread: {threads}.")
    known = res.tools.get(found[0].tool)
    if (why := _why_not(res, found[0])) or known is None or known.undo is None:
        raise UndoError(_CANNOT.format(call=named, tool=found[0].tool, why=why))
    return found[0], known.undo


def _why_not(res: Resources, found: Undoable) -> str | None:
    """Return why a call cannot be undone, as far as records tell."""
    known = res.tools.get(found.tool)
    if found.status != "executed":
        return _NOT_RUN.get(found.status, _NOT_YET)
    if known is None or known.undo is None:
        return _NO_UNDO_DECLARED.format(tool=found.tool)
    if found.undo_status in _UNDONE_ALREADY:
        return _UNDONE_ALREADY[found.undo_status]
    return _NO_RECORD if found.record is None else found.record.get(WHY_NOT)


def _turn_of(res: Resources, store: BaseStore | None, found: Undoable, by: str) -> tuple[Turn, JudgedCall]:
    """Return the turn of one call that undoes another, and that call.

    Raises:
        UndoError: its person may not use the tool any more.
    """
    context = Context(user=found.call.user)
    runtime = Runtime(context=context, store=store)
    person, known = person_of(context, runtime, res.settings), res.tools.get(found.tool)
    ruling = decide(person, known, found.tool)
    if known is None or isinstance(ruling, Deny):
        raise UndoError(_CANNOT.format(call=found.call.call_id, tool=found.tool, why=ruling.reason))
    undoes = _tool(known, found.record or {})
    res = replace(res, tools=Registry([undoes]))
    person = replace(person, tools=None)  # which the tool itself is held against
    call = JudgedCall(
        id=found.undo_id,
        name=UNDO,
        args={"call": found.call.call_id, "tool": found.tool},
        problem=None,
        verdict="ask",
        reason=decide(person, undoes, UNDO).reason,
    )
    state = State(thread=found.call.thread, turn=found.undo_id, calls=[call])
    return Turn(state, read_turn([], found.undo_id), runtime, res, context, person, by), call


def _tool(known: Tool, record: dict[str, Any]) -> Tool:
    """Return the tool that undoes one call of another."""
    way = known.undo
    assert way is not None  # noqa: S101 (which `_named` saw)

    async def preview(here: Here, call: str, tool: str) -> Any:  # noqa: ARG001 (as those of `undo`)
        return await _called(way.preview, here, record)

    async def verify(here: Here, call: str, tool: str) -> Any:  # noqa: ARG001
        return await _called(way.verify, here, record)

    @tool(
        effect=known.effect,
        role=known.role,
        timeout_s=known.timeout_s,
        at_once=known.at_once,
        untrusted=known.untrusted,
        missing=known.missing,
        preview=preview,
        verify=verify,
    )
    async def undo(here: Here, call: str, tool: str) -> Any:  # noqa: ARG001 (what the ledger and the card say)
        """Undo a call."""
        return await _called(way.run, here, record)

    return undo


async def _called(function: Callable[..., Any], here: Here, record: dict[str, Any]) -> Any:
    if inspect.iscoroutinefunction(function):
        return await function(here, record)
    return await in_thread(partial(function, here, record))


async def _check(turn: Turn, found: Undoable, way: Undo) -> None:
    """Check that the world is as the call left it.

    Raises:
        UndoError: it is not, or nobody can tell.
    """
    try:
        await _called(way.preview, turn.here(found.undo_id), found.record or {})
    except ToolFailure as failure:
        why = turn.res.settings.redact(str(failure))
        raise UndoError(_CANNOT.format(call=found.call.call_id, tool=found.tool, why=why)) from None


async def _request(turn: Turn, call: JudgedCall, found: Undoable, lost: Mapping[str, Lost]) -> dict[str, Any]:
    zone = turn.res.settings.zone(turn.answered_by)
    when = local_time(found.at or 0.0, zone)
    message = DOUBTS if lost else _REQUEST.format(tool=found.tool, when=when)
    request = await request_for(turn, [call], lost, message, None)
    for review in request["review_configs"]:
        review["allowed_decisions"] = ["approve", "reject"]
    return request


def _task(turn: Turn, call: JudgedCall) -> Task:
    return Task(
        call=call,
        args=call["args"],
        on_record=True,
        thread=turn.state.thread,
        turn=turn.state.turn,
        choices={},
        planner="",
        taint=turn.state.taint,
        next="plan",
    )


def _asks(turn: Turn, request: dict[str, Any], problem: str = "") -> Result:
    """Return the result that waits for an answer."""
    if problem:
        request = {**request, "problem": problem, "message": f"{problem}\n\n{request['message']}"}
    return Result(turn.state.thread, pending=request)


def _told(turn: Turn, call: JudgedCall, status: str, text: str) -> Result:
    named = {"tool": UNDO, "call_id": call["id"], "status": status}
    return Result(
        turn.state.thread,
        response=text,
        tool_calls=[{**named, "args": call["args"], "result": text}],
        receipts=[{**named, "text": text}],
        stop_reason="answered",
    )
