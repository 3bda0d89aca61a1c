"""Stop until a person has decided on the risky calls."""

from dataclasses import replace
from functools import partial
from typing import Any

from langchain_core.messages import ToolMessage
from langgraph.runtime import Runtime
from langgraph.types import interrupt

from base.errors import StorageError
from ledger.records import Decision, Remembered
from nodes.context import Context
from nodes.events import ToolFinished, emit
from nodes.gate.answers import Approve, Choice, Edit, Reading, Reject, fault, read
from nodes.gate.request import above_the_card, one_of, remaining, shown_now, was_sent_before
from nodes.state import CallDecision, JudgedCall, State, Update, appended
from nodes.turn.history import result_message
from nodes.turn.turn import Turn, take_up

_BEGUN = {"running", "executed", "failed", "unknown"}
_NOT_ON_RECORD = (
    "The ledger has no record of this question: it was lost, or put back from an older copy. So your answer "
    "counts for nothing, and nothing was run by it. See whether it was done before, then answer again."
)
_NOT_THEIRS = "Only {approvers} may agree to this. {by} may reject it; else it goes on waiting."
_SENT_BEFORE = (
    "An answer came that had been sent before this question was put, so it counts for nothing here. Answer "
    "this one."
)


async def confirm(state: State, runtime: Runtime[Context]) -> Update:
    """Ask once, and write what was decided.

    Reads request, decisions and problem; writes these, and results for what will not run. There is no request
    where the ledger has forgotten it; where the answer may have been meant for any call, they are asked about
    one by one.
    Nothing happens before the interrupt: this step is run again from here when the answer comes.
    """
    request = remaining(state)
    answer = interrupt(request)
    turn = await take_up(state, runtime)
    reading = permitted(turn, read(answer, request["action_requests"], partial(fault, turn.res.tools)))
    in_doubt = any("attempt" in action for action in request["action_requests"])
    if (in_doubt or not reading.names_calls) and was_sent_before(request):
        again = remaining(replace(state, problem=_SENT_BEFORE))
        return {"problem": _SENT_BEFORE, "pending": again, **appended(above_the_card(turn, _SENT_BEFORE))}
    decisions, messages, unrecorded = await decided(turn, reading)
    undecided = any(action["tool_call_id"] not in decisions for action in state.request["action_requests"])
    problem = (unrecorded or reading.problem) if undecided else ""
    if not undecided:
        turn.mark("running")
    if reading.one_by_one:
        state = replace(state, request={**state.request, "one_by_one": True})
    now = turn.res.ledger.now()
    return {
        "decisions": decisions,
        "problem": problem,
        "waited_s": state.waited_s + max(0.0, now - state.asked_at),
        "asked_at": now,
        "pending": remaining(replace(state, decisions=decisions, problem=problem)) if undecided else None,
        "request": state.request if problem != _NOT_ON_RECORD else {},  # then plan puts the question anew
        **appended([*messages, *(above_the_card(turn, problem) if problem else [])]),
    }


def permitted(turn: Turn, reading: Reading) -> Reading:
    """Return what whoever answers may say: all may refuse what is theirs.

    Where the turn's user has approvers, no other's consent counts.
    """
    approvers = turn.person.approvers
    if not approvers or turn.answered_by in approvers:
        return reading
    said = reading.choices
    refused: dict[str, Choice] = {call: each for call, each in said.items() if isinstance(each, Reject)}
    if len(refused) == len(said):
        return reading
    problem = _NOT_THEIRS.format(approvers=one_of(approvers), by=turn.answered_by)
    return replace(reading, choices=refused, problem=f"{problem} {reading.problem}".strip())


async def decided(turn: Turn, reading: Reading) -> tuple[dict[str, CallDecision], list[ToolMessage], str]:
    """Put the choices on record.

    Returns:
        All decisions that hold; a result for each call that will not run; and, where a choice could not
        be recorded and so counts for nothing, why.
    """
    decisions = dict(turn.state.decisions)
    messages: list[ToolMessage] = []
    actions = {action["tool_call_id"]: action for action in turn.state.request["action_requests"]}
    for call in [c for c in turn.state.calls if c["id"] in reading.choices]:
        action = actions[call["id"]]
        choice, tool = reading.choices[call["id"]], turn.res.tools.find(call["name"])
        if tool and isinstance(choice, Edit):
            choice = Edit(tool.check(choice.args))  # forms send numbers as text
        try:
            held = await _on_record(turn, action, choice)
        except StorageError as error:
            return decisions, messages, f"Your answer for {call['name']} could not be recorded. {error}"
        if held.status is None and "attempt" not in action:
            return decisions, messages, _NOT_ON_RECORD
        decisions[call["id"]] = CallDecision(
            approved=_goes_on(held),
            args=_args(turn, action, choice, held),
            message=held.reason,
            on_record=True,
        )
        if held.approved and tool and turn.res.servers:
            await turn.res.servers.approve_definition(
                tool.name, action.get("definition", ""), turn.person.user
            )
        if not _goes_on(held):
            messages.append(_refused(turn, call, action["args"], held))
    return decisions, messages, ""


def _goes_on(held: Decision) -> bool:
    """Tell whether execute_tools is to take up a call.

    Where the ledger has forgotten that a call was in doubt, it is found to be so there.
    """
    return held.approved or (not held.won and (held.status is None or held.status in _BEGUN))


def _refused(turn: Turn, call: JudgedCall, args: dict[str, Any], held: Decision) -> ToolMessage:
    """Return the result of a refused call, and tell watchers."""
    status = "denied" if held.status is None or held.status == "waiting" else held.status
    emit(turn.runtime.stream_writer, ToolFinished(call["id"], call["name"], status, held.reason))
    return result_message(call, status, held.reason, args, denied=held.status == "denied")


async def _on_record(turn: Turn, action: dict[str, Any], choice: Choice) -> Decision:
    """Record a choice, and return the decision that holds: the first one."""
    call = turn.ledger_call({"id": action["tool_call_id"], "name": action["name"]}, action["args"])
    return await turn.res.ledger.decide(
        call.key,
        approve=not isinstance(choice, Reject),
        by=turn.answered_by,
        fingerprint=call.fingerprint,
        shown=await _shown(turn, action, choice),
        message=choice.message if isinstance(choice, Reject) else "",
        args=choice.args if isinstance(choice, Edit) else None,
        edited=turn.res.tools.fingerprint(call.tool, choice.args) if isinstance(choice, Edit) else "",
        remember=_remembered(turn, action, choice),
        offered=action["offer"]["remember"]["where"] if "offer" in action else None,
        attempt=action.get("attempt"),
    )


async def _shown(turn: Turn, action: dict[str, Any], choice: Choice) -> str:
    """Return the hash of what was decided on."""
    shown: str = action.get("shown", "")
    tool = turn.res.tools.find(action["name"])
    if tool is None or not isinstance(choice, Edit):
        return shown
    here = turn.here(action["tool_call_id"])
    holds = await shown_now(tool, here, action["args"]) == shown
    return await shown_now(tool, here, choice.args) if holds else shown


def _remembered(turn: Turn, action: dict[str, Any], choice: Choice) -> Remembered | None:
    """Return the rule that an approval begins, of the tool as shown."""
    tool = turn.res.tools.find(action["name"])
    if tool is None or not isinstance(choice, Approve) or choice.remember is None:
        return None
    said = choice.remember
    until = said.until.timestamp() if said.until else None
    return Remembered(said.where, action.get("definition", ""), until, said.uses)


def _args(turn: Turn, action: dict[str, Any], choice: Choice, held: Decision) -> dict[str, Any]:
    """Return what to run: an edit only where that was agreed to."""
    shared = turn.res.tools.fingerprint
    if isinstance(choice, Edit) and held.fingerprint == shared(action["name"], choice.args):
        return choice.args
    return dict(action["args"])
