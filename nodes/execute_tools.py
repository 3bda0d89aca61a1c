"""Run one call: judged again, claimed once, never raising."""

import asyncio
import logging
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from langgraph.runtime import Runtime
from langgraph.types import Command

from base.errors import StorageAwayError, StorageError, TwobrainError
from ledger.reads import Read
from ledger.records import Call, Changed, Claim, Claimed, Lost, NotApproved, Recorded, Running, Status
from nodes.context import Context
from nodes.events import ToolFinished, ToolStarted, emit
from nodes.gate.judge import judge_again
from nodes.gate.request import shown_now
from nodes.state import State, Task
from nodes.turn.history import result_message
from nodes.turn.limits import seconds_left
from nodes.turn.results import ShortResult, store
from nodes.turn.turn import Turn, take_up
from tools.declaration import ArgumentsError, Here, Tool, ToolFailure
from tools.policy.decision import Allow, Confirm, Deny
from tools.run import Ran, concurrency_limit, run_tool

_LEASE_MARGIN_S = 30.0
"""Beyond the tool's own limit, before its claim counts as abandoned."""
_RETRY_S = 1.0
"""Between attempts to record an outcome while the database is away."""
_log = logging.getLogger(__name__)

_STILL_RUNNING = "It is unknown whether this was done: another process is still at it."
_UNMADE = "Not executed: no model made this call in this conversation."
_LOOKED_UP = (
    "Done. It was cut short before its result was recorded; looked up afterwards, it had taken effect."
)


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What became of a call; no duration where it did not run."""

    status: Status
    text: str
    duration_ms: float | None = None
    untrusted: bool = False
    """The text holds what others wrote."""
    short: ShortResult | None = None
    """How a result is kept that was made here; else None."""


async def execute_tools(state: Task, runtime: Runtime[Context]) -> Command[Literal["plan", "explain"]]:
    """Run the one call of this task.

    Reads the task that a route sent; writes the call's result to messages, and goes where the task says. A
    call that was begun before and whose outcome nobody knows gets no result: the person is asked.
    """
    call, ran = state["call"], state["args"]
    writer = runtime.stream_writer
    emit(writer, ToolStarted(call["id"], call["name"], ran))
    outcome = await _safely(state, runtime)
    if outcome is None:
        return Command(goto=state["next"])
    emit(writer, ToolFinished(call["id"], call["name"], outcome.status, outcome.text, outcome.duration_ms))
    stored = outcome.short.stored if outcome.short else None
    message = result_message(
        call, outcome.status, outcome.text, ran, untrusted=outcome.untrusted, stored=stored
    )
    return Command(update={"messages": [message]}, goto=state["next"])


async def _safely(task: Task, runtime: Runtime[Context]) -> _Outcome | None:
    """Return the call's outcome, never raising: that would cancel its siblings.

    None where nobody knows it: it may have been begun before, and where the ledger cannot be asked or
    written to, nothing can be said of that.
    """
    if not task.get("in_conversation", True):
        return _Outcome("denied", _UNMADE)
    try:
        shared = ("thread", "turn", "choices", "planner", "taint")
        known = State(
            started_at=task.get("started_at", time.time()),
            waited_s=task.get("waited_s", 0.0),
            **{name: task[name] for name in shared},  # type: ignore[literal-required]
        )
        return await settle(task, await take_up(known, runtime))
    except StorageError:
        _log.exception("how call %s of %s stands could not be told", task["call"]["id"], task["call"]["name"])
        return None
    except TwobrainError as error:
        return _Outcome("failed", f"Tool error: {error}")
    except Exception:  # whatever a tool or a store throws, the siblings go on
        _log.exception("call %s of %s failed", task["call"]["id"], task["call"]["name"])
        return _Outcome("failed", "Tool error: an internal error; the details are in the log.")


async def settle(task: Task, turn: Turn) -> _Outcome | None:
    """Claim a call and run it; None: a person is asked."""
    call = task["call"]
    tool = turn.res.tools.find(call["name"])
    verdict = await judge_again(turn, call["name"], task["args"], task["taint"])
    entry = turn.ledger_call(call, task["args"])
    noted = partial(_noted, entry, turn, task)
    if call["verdict"] == "refuse":
        return await noted(Recorded("denied", f"Not executed: {call['reason']}"))
    if tool is None or isinstance(verdict, Deny):
        return await noted(Recorded("denied", f"Not executed: {verdict.reason}"))
    left = None if call["verdict"] == "ask" else seconds_left(turn)  # what a person approved still runs
    try:
        args = _whole(tool, task)
        # Before the claim: its lease must not run out in a queue.
        async with concurrency_limit(tool, turn.res.settings, left):
            claim = await _claim(entry, tool, turn, args, verdict, recorded=task.get("on_record", False))
            if isinstance(claim, Claimed | Read):
                return await _run(entry, tool, turn, args, claim, left)
        if isinstance(claim, NotApproved | Changed):  # nobody is asked about what cannot run
            await _check_objection(tool, turn.here(call["id"]), args)
    except (ArgumentsError, ToolFailure) as error:
        return await noted(Recorded("failed", f"Tool error: {error}", tool.untrusted_definition))
    if isinstance(claim, Running):
        ended = await turn.res.ledger.await_outcome(entry.key, _lease(tool, turn))
        if ended is None:  # whoever ran it is gone
            return await settle(task, turn)
        claim = ended
    return _unrun(claim)


async def _claim(  # noqa: PLR0913 (all that a claim is judged by)
    entry: Call, tool: Tool, turn: Turn, args: dict[str, Any], verdict: Allow | Confirm, *, recorded: bool
) -> Claim | Read:
    """Claim a call; ask the world about an abandoned one.

    For a read that the planner asked for just now, nothing has to be waited for: it may run again. Before
    anything else may run, the step that made it is on disk: asked once more, the planner would name it anew.
    """
    ledger = turn.res.ledger
    rule = verdict.rule if isinstance(verdict, Allow) else ""
    if tool.effect != "read":
        if turn.res.checkpoints:
            await turn.res.checkpoints.settled(turn.thread_id)
    elif isinstance(verdict, Allow) and not rule and (read := ledger.reads.begin(entry, _lease(tool, turn))):
        return read
    asked = recorded or isinstance(verdict, Confirm)
    claim = partial(
        ledger.claim,
        entry,
        needs_approval=isinstance(verdict, Confirm),
        lease_s=_lease(tool, turn),
        rerun=tool.idempotent or tool.effect == "read",
        rule=rule,
        shown=await shown_now(tool, turn.here(entry.call_id), args) if asked else None,
        recorded=recorded,
    )
    claimed = await claim()
    if not isinstance(claimed, Lost) or tool.verify is None:
        return claimed
    happened = await tool.verify(turn.here(entry.call_id, claimed.earlier), args)
    if happened:
        found = _Outcome("executed", _LOOKED_UP)
        return await _finish(entry, turn, found, claimed) or claimed
    return claimed if happened is None else await claim(undone=claimed.attempt)


async def _check_objection(tool: Tool, here: Here, args: dict[str, Any]) -> None:
    if why := await tool.objection(here, args):
        raise ToolFailure(why)


def _unrun(claim: Recorded | NotApproved | Lost | Changed) -> _Outcome | None:
    """Return the outcome of a call that another ran; None: ask."""
    match claim:
        case Recorded(status=status, text=text, untrusted=untrusted):
            return _Outcome(status, text, untrusted=untrusted)
        case NotApproved(reason=reason):
            return _Outcome("denied", f"Not executed: {reason}")
        case Lost() | Changed():
            return None


async def _run(  # noqa: PLR0913, PLR0917 (what runs, whose it is, and how long it may)
    entry: Call, tool: Tool, turn: Turn, args: dict[str, Any], claim: Claimed | Read, left: float | None
) -> _Outcome:
    here = turn.here(entry.call_id, claim.earlier)
    try:
        ran = await run_tool(tool, here, args, left)
        if isinstance(claim, Read):  # it may run again, so that it need not be shielded
            return await _stored(entry, tool, turn, args, ran, claim)
    except asyncio.CancelledError:
        with suppress(StorageError):  # its lease runs out all the same
            await asyncio.shield(turn.res.ledger.abandon(entry.key, claim.attempt))
        raise
    return await asyncio.shield(_stored(entry, tool, turn, args, ran, claim))


async def _stored(  # noqa: PLR0913, PLR0917 (what ran, and whose it is)
    entry: Call, tool: Tool, turn: Turn, args: dict[str, Any], ran: Ran, claim: Claimed | Read
) -> _Outcome:
    short = await store(turn, tool, args, ran)
    outcome = _Outcome(ran.status, short.text, ran.duration_ms, ran.untrusted, short)
    until = time.monotonic() + _lease(tool, turn) - ran.duration_ms / 1_000
    while True:
        try:
            await _finish(entry, turn, outcome, claim)
        except StorageError as error:
            if isinstance(error, StorageAwayError) and time.monotonic() < until:
                await asyncio.sleep(_RETRY_S)  # nobody else can take the call over before its lease ends
                continue
            # It ran, and that is what has to be said.
            _log.exception("the outcome of call %s was not recorded", entry.call_id)
        return outcome


async def _finish(
    entry: Call, turn: Turn, outcome: _Outcome, claim: Claimed | Read | Lost
) -> Recorded | None:
    return await turn.res.ledger.finish(
        entry.key,
        status=outcome.status,
        text=outcome.text,
        duration_ms=outcome.duration_ms,
        size=outcome.short.size if outcome.short else None,
        sha256=outcome.short.sha256 if outcome.short else None,
        untrusted=outcome.untrusted,
        attempt=claim.attempt,
        lost=isinstance(claim, Lost),
        read=claim if isinstance(claim, Read) else None,
    )


async def _noted(entry: Call, turn: Turn, task: Task, outcome: Recorded) -> _Outcome:
    begun = task.get("on_record", False)
    ended = await turn.res.ledger.note(
        entry, status=outcome.status, text=outcome.text, untrusted=outcome.untrusted, recorded=begun
    )
    if ended is None:
        return _Outcome("unknown", _STILL_RUNNING)
    return _Outcome(ended.status, ended.text, untrusted=ended.untrusted)


def _whole(tool: Tool, task: Task) -> dict[str, Any]:
    """Return the arguments, checked; mangled ones never run as empty ones."""
    if problem := task["call"]["problem"]:
        raise ArgumentsError(tool.name, [problem], tool.parameters)
    return tool.check(task["args"])


def _lease(tool: Tool, turn: Turn) -> float:
    return (tool.timeout_s or turn.limits.tool_timeout_s) + _LEASE_MARGIN_S
