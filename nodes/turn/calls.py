"""What happened in a turn, read from the conversation."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, ToolMessage
from typing_extensions import TypedDict

from nodes.state import Planned, State

_RECEIPT_CHARS = 200


class Whole(TypedDict):
    """Where a long result is stored; positions are bytes, the end is exclusive."""

    handle: str
    start: int
    """Not 0, or the end not the size, where the result is a page of a stored one."""
    end: int
    size: int
    """Of all that is stored under the handle."""


@dataclass(frozen=True, slots=True)
class Record:
    """A call with its result."""

    call_id: str
    tool: str
    args: dict[str, Any]
    """What ran: the edited arguments where a person edited them."""
    edited: bool
    status: str
    text: str
    untrusted: bool
    """The text holds what others wrote."""


def result_message(  # noqa: PLR0913 (all that is kept of a result)
    call: Mapping[str, Any],
    status: str,
    text: str,
    args: dict[str, Any] | None = None,
    *,
    untrusted: bool = False,
    whole: Whole | None = None,
    denial: bool = False,
) -> ToolMessage:
    """Return a call's result as the message that the conversation keeps.

    Args:
        call: its `id`, `name` and `args` as the model wrote them.
        status: what became of it; see `ledger.records.Status`.
        text: what the model is to read.
        args: the arguments that ran, where a person edited them.
        untrusted: the text holds what others wrote.
        whole: where the rest of it is, where the text is only its two ends.
        denial: a person said no to it.
    """
    artifact: dict[str, Any] = {"status": status}
    if denial:
        artifact["denial"] = True
    if whole:
        artifact["whole"] = whole
    if untrusted:
        artifact["untrusted"] = True
    if args is not None and args != call["args"]:
        artifact["args"] = args
    return ToolMessage(
        id=f"result-{call['id']}",
        content=text,
        tool_call_id=call["id"],
        name=call["name"],
        status="success" if status == "executed" else "error",
        artifact=artifact,
    )


def is_untrusted(result: ToolMessage) -> bool:
    """Tell whether a result holds text that others wrote."""
    return isinstance(result.artifact, dict) and bool(result.artifact.get("untrusted"))


def is_denial(result: ToolMessage) -> bool:
    """Tell whether it was a person who said no to the call."""
    return isinstance(result.artifact, dict) and bool(result.artifact.get("denial"))


def status_of(result: ToolMessage) -> str:
    """Return what became of a call, by its result."""
    artifact = result.artifact if isinstance(result.artifact, dict) else {}
    return artifact.get("status") or ("executed" if result.status == "success" else "failed")


def whole_of(result: ToolMessage) -> Whole | None:
    """Return where a long result is stored; None where its message holds all of it."""
    return result.artifact.get("whole") if isinstance(result.artifact, dict) else None


def rounds_of(state: State) -> list[AnyMessage]:
    """Return the turn's messages after its request; not the caller's to change."""
    return state.after_request


def results_by_call(messages: Iterable[BaseMessage]) -> dict[str, ToolMessage]:
    """Return each result under its call's id; the first one counts."""
    results: dict[str, ToolMessage] = {}
    for message in messages:
        if isinstance(message, ToolMessage):
            results.setdefault(message.tool_call_id, message)
    return results


def records_of(state: State) -> list[Record]:
    """Return the turn's finished calls, in the order they were made."""
    turn = rounds_of(state)
    results = results_by_call(turn)
    calls = [call for message in turn if isinstance(message, AIMessage) for call in message.tool_calls]
    return [_record(call, results[call["id"]]) for call in calls if call["id"] in results]


def unanswered(state: State) -> list[Planned]:
    """Return the calls of the current round that have no result."""
    left = {call["id"]: call for call in state.calls}
    for message in reversed(state.messages) if left else ():  # from the end: the conversation may be long
        if isinstance(message, ToolMessage):
            left.pop(message.tool_call_id, None)
        elif isinstance(message, AIMessage) and message.tool_calls:
            break
    return list(left.values())


def recorded_calls(state: State) -> set[str]:
    """Return the ids of the calls of which the ledger had a consent or a run on record."""
    agreed = {call_id for call_id, decided in state.decisions.items() if decided.get("recorded")}
    doubted = {a["tool_call_id"] for a in state.request.get("action_requests", ()) if "attempt" in a}
    return agreed | doubted


def open_calls(messages: Iterable[AnyMessage]) -> list[Any]:
    """Return the calls that have no result."""
    messages = list(messages)
    answered = results_by_call(messages)
    calls = [call for message in messages if isinstance(message, AIMessage) for call in message.tool_calls]
    return [call for call in calls if call["id"] not in answered]


def as_tool_calls(records: Iterable[Record]) -> list[dict[str, Any]]:
    """Return the records in the shape of the output schema's `tool_calls`."""
    return [
        {"tool": r.tool, "args": r.args, "result": r.text, "status": r.status, "call_id": r.call_id}
        for r in records
    ]


def as_receipts(records: Iterable[Record]) -> list[dict[str, Any]]:
    """Return one short machine-made line for each call, whatever a model says of it."""
    return [
        {"tool": r.tool, "call_id": r.call_id, "status": r.status, "text": _cut(r.text, _RECEIPT_CHARS)}
        for r in records
    ]


def as_list(records: Iterable[Record], most_chars: int = 500) -> str:
    """Return the records as a plain list, each result cut, for where no model can put them in words."""
    return "\n".join(
        f"- {r.tool}({json.dumps(r.args, ensure_ascii=False)}): {r.status}: {_cut(r.text, most_chars)}"
        for r in records
    )


def _record(call: Any, result: ToolMessage) -> Record:
    artifact = result.artifact if isinstance(result.artifact, dict) else {}
    args = artifact.get("args", call["args"])
    edited, untrusted = "args" in artifact, is_untrusted(result)
    return Record(call["id"], call["name"], args, edited, status_of(result), result.text, untrusted)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}…"
