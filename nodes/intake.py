"""Admit a turn: check its message, close what was left open."""

import re
import uuid
from collections.abc import Sequence
from functools import partial

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, RemoveMessage, ToolMessage
from langgraph.runtime import Runtime

from base.errors import BadMessageError
from base.redaction import redacted_text
from base.run_context import PathName
from base.settings import Limits
from base.texts import is_blank
from ledger.records import Recorded
from models.call import FETCHED, addresses_in
from models.media import attached
from models.replies import in_thread_if_long
from nodes.context import Context, choices_of
from nodes.events import ToolFinished, emit
from nodes.state import State, Update, new_turn
from nodes.turn.history import (
    TAINT,
    TITLE,
    FinishedCall,
    as_receipts,
    open_calls,
    place_of,
    read_turn,
    result_message,
    results_in,
)
from nodes.turn.turn import Turn, take_up
from tools.policy.taint import links_in

_HALVES = re.compile("[\ud800-\udfff]")
_STILL_RUNNING = Recorded("unknown", "Unknown: it was still running when the next message came.")


async def intake(state: State, runtime: Runtime[Context]) -> Update:
    """Admit the new messages and begin a turn.

    Reads messages; writes messages (without what a client may not write, open calls closed), the receipts of
    what an earlier turn left untold, and resets everything that counts for a turn. A message that is there
    already, sent again after a broken connection, begins none: its turn goes on, or has its answer.

    Raises:
        BadMessageError: the input holds no message of a person that can be read.
        ConfigurationError: the context names a model, role or tool that does not exist or cannot be used.
    """
    turn = await take_up(state, runtime, begins=True)
    path = _path(turn)
    _check(turn, path)
    last = place_of(state.messages, state.own_last_id)
    begins = 0 if last is None else last + 1
    before, new = state.messages[:begins], state.messages[begins:]
    if state.turn and not any(map(_may_say, new)):  # results of its calls may stand there
        brought = await _brought(turn, new)
        return {"messages": brought} if brought else {}
    admitted = _admitted(new, turn.limits)
    request = _request(admitted, turn.limits)
    await in_thread_if_long(len(request.text), links_in, request.text)  # to be at hand when calls are judged
    thread = state.thread or turn.thread_id or f"run-{uuid.uuid4()}"
    closing = await _close(turn, before)
    untold = _untold(turn, before, closing)
    for call, result in untold:
        told = ToolFinished(call.id, call.name, result.status, result.text)
        emit(turn.runtime.stream_writer, told)
    if path == "two-brain" and turn.context.respond:
        turn.res.models.warm(turn.context.responder, turn.person.user)
    ran = turn.thread_id or thread
    turn.res.ledger.mark(ran, user=turn.person.user, status="running", title=_title(request))
    return {
        **new_turn(),
        "started_at": turn.res.ledger.now(),
        "receipts": as_receipts(untold),
        "messages": _tidied(new, admitted, closing),
        "own_last_id": request.id or "",
        "thread": thread,
        "turn": request.id or "",
        "choices": choices_of(turn.context),
        "path": path,
        "respond": turn.context.respond,
    }


def _title(request: HumanMessage) -> str:
    given = request.additional_kwargs.get(TITLE)
    if isinstance(given, str) and given.strip():
        return given
    return request.text or ", ".join(each.name for _, each in attached(request.content))


def _path(turn: Turn) -> PathName:
    context = turn.context
    if context.path != "auto":
        return context.path
    names_writer = context.responder not in {Context.model_fields["responder"].default, context.orchestrator}
    hands_over = turn.res.models.registry.is_two_brain(context.orchestrator, turn.person.user)
    return "two-brain" if hands_over or names_writer else "single"


def _check(turn: Turn, path: PathName) -> None:
    context, registry, user = turn.context, turn.res.models.registry, turn.person.user
    turn.res.tools.require([*(context.tools or []), *context.confirm_allow, *context.confirm_deny])
    if path != "direct":
        registry.require(context.orchestrator, user)
    if path == "direct" or (path == "two-brain" and context.respond):
        registry.require(context.responder, user)


def _admitted(new: Sequence[AnyMessage], limits: Limits) -> list[AnyMessage]:
    """Return what may be said, unreadable earlier messages left out.

    A message that was refused as a request still stands there when the next one comes.
    """
    said = [_unmarked(message) for message in new if _may_say(message)]
    return [*(message for message in said[:-1] if _can_be_read(message, limits)), *said[-1:]]


def _unmarked(message: AnyMessage) -> AnyMessage:
    """Return an answer without the mark that one of ours bears."""
    if isinstance(message, HumanMessage) or TAINT not in message.additional_kwargs:
        return message
    kept = {key: value for key, value in message.additional_kwargs.items() if key != TAINT}
    return message.model_copy(update={"additional_kwargs": kept})


def _can_be_read(message: AnyMessage, limits: Limits) -> bool:
    try:
        check_message(message, limits)
    except BadMessageError:
        return False
    return True


def check_message(message: AnyMessage, limits: Limits) -> None:
    """Check that a person's message can be answered.

    Raises:
        BadMessageError: it is empty, too long, holds a file that is too large, or is not text.
    """
    _check_text(message.text, limits.max_message_chars, is_alone=not any(attached(message.content)))
    _check_attachments(message, limits)
    if address := next(addresses_in(message.content), None):
        raise BadMessageError(f"The message cannot be read: {FETCHED.format(address=address)}")


def _check_attachments(message: AnyMessage, limits: Limits) -> None:
    files = [each for _, each in attached(message.content)]
    chars = sum(each.size for each in files if each.text is not None)
    if chars > limits.max_message_chars:
        raise BadMessageError(
            f"The attached text has {chars:,} characters; at most {limits.max_message_chars:,} are accepted. "
            "Attach less, name a file of the workspace instead, or raise max_message_chars under [limits]."
        )
    largest = max((each.size for each in files if each.text is None), default=0)
    if largest > limits.max_attachment_mb * 1_000_000:
        raise BadMessageError(
            f"An attachment has {largest / 1_000_000:,.1f} MB; at most {limits.max_attachment_mb:g} are "
            "accepted. Attach a smaller one, or raise max_attachment_mb under [limits]."
        )


def _may_say(message: AnyMessage) -> bool:
    plain = isinstance(message, AIMessage) and not message.tool_calls and not message.invalid_tool_calls
    return isinstance(message, HumanMessage) or plain


def _request(admitted: Sequence[AnyMessage], limits: Limits) -> HumanMessage:
    if not admitted or not isinstance(admitted[-1], HumanMessage):
        raise BadMessageError("There is no message to answer: the last one must be the person's.")
    request = admitted[-1]
    check_message(request, limits)
    return request


def _check_text(text: str, most_chars: int, *, is_alone: bool = True) -> None:
    """Check a message's words; `is_alone`: no picture or the like stands beside."""
    if is_alone and is_blank(text):
        raise BadMessageError("The message is empty. Say what you would like to know or have done.")
    if _HALVES.search(text):
        raise BadMessageError("The message holds halves of characters (lone surrogates). Send whole ones.")
    if len(text) > most_chars:
        raise BadMessageError(
            f"The message has {len(text):,} characters; at most {most_chars:,} are accepted. "
            "Shorten it, put the text in a file of the workspace, or raise max_message_chars under [limits]."
        )


async def _brought(turn: Turn, new: Sequence[AnyMessage]) -> list[RemoveMessage]:
    """Return removals of what a client brought beside a turn's results.

    Those are its results that the ledger has as they stand there; it has all that may not run again.
    """
    found = results_in(new)
    held = await turn.res.ledger.outcomes(turn.person.user, turn.state.thread, list(found)) if found else {}
    clean = partial(redacted_text, redact=turn.res.settings.redact)
    own = {
        each.message.id
        for call, each in found.items()
        if (one := held.get(call))
        and (one.status, one.text, one.untrusted) == (each.status, clean(each.text), each.untrusted)
    }
    return [RemoveMessage(id=message.id or "") for message in new if message.id not in own]


async def _close(turn: Turn, before: Sequence[AnyMessage]) -> list[ToolMessage]:
    """Return a result for each open call, as the ledger knows it.

    Results that came with the new messages count for nothing: the graph's own are in the ledger.
    """
    left = open_calls(before)
    if not left:
        return []
    ended = await turn.res.ledger.supersede(turn.ledger_calls(left), _recorded_calls(turn.state))
    outcomes = [ended.get(call["id"], _STILL_RUNNING) for call in left]
    return [
        result_message(call, o.status, o.text, untrusted=o.untrusted)
        for call, o in zip(left, outcomes, strict=True)
    ]


def _recorded_calls(state: State) -> set[str]:
    agreed = {call_id for call_id, decided in state.decisions.items() if decided.get("on_record")}
    doubted = {a["tool_call_id"] for a in state.request.get("action_requests", ()) if "attempt" in a}
    return agreed | doubted


def _untold(turn: Turn, before: Sequence[AnyMessage], closing: Sequence[ToolMessage]) -> list[FinishedCall]:
    """Return the calls that an unanswered turn has not told of.

    The person learns in this turn that what waited was not done, and what a turn had done that was cut short.
    """
    if turn.state.response:
        return []
    told = {receipt["call_id"] for receipt in turn.state.receipts}
    finished = read_turn([*before, *closing], turn.state.turn).finished()
    return [each for each in finished if each.call.id not in told]


def _tidied(
    new: Sequence[AnyMessage], admitted: Sequence[AnyMessage], closing: Sequence[ToolMessage]
) -> list[AnyMessage | RemoveMessage]:
    """Return the writes that leave closing results, then admitted messages."""
    if list(map(id, admitted)) == list(map(id, new)) and not closing:
        return []
    return [*(RemoveMessage(id=message.id or "") for message in new), *closing, *admitted]
