"""How a turn ends: an answer, and an account of what happened."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from langchain_core.messages import AIMessage

from base.texts import dollars
from models.call import Reply
from nodes.events import Token, emit
from nodes.gate.judge import taint_of_answer
from nodes.state import FailedModel, Update
from nodes.turn.history import NOTE, TAINT, FinishedCall, as_receipts
from nodes.turn.limits import stopped
from nodes.turn.meter import Meter
from nodes.turn.turn import Turn

_OUTCOMES = {
    "executed": "Done",
    "failed": "Failed",
    "denied": "Not allowed",
    "expired": "Approved too late",
    "superseded": "Given up",
    "unknown": "Unknown whether done",
}


async def end_turn(
    turn: Turn, meter: Meter, answer: str, stop_reason: str, reply: Reply | None = None
) -> Update:
    """Return the changes that end a turn, and note its end.

    Under the answer of a turn that a limit ended, that was cut off, or that a fallback gave, stands a note
    on that, whatever the model said. For `stop_reason` see `graphs.result.Result`; `reply` is
    the model's own, None where the words are ours.
    """
    state = turn.state
    message = reply.message if reply else None
    total = meter.total()
    limit = state.stop_reason if stop_reason == "model_failed" else stop_reason
    notes = [_cut_note(reply), closing_note(turn, limit, total["usage"])]
    replaced = fallback_note(total["failed_models"], reply.backend if reply else "")
    answer = "\n\n".join(filter(None, [answer, " ".join(filter(None, notes)), replaced]))
    if reply and reply.is_cut and stop_reason == "answered":
        stop_reason = "truncated"
    if reply and reply.heard and (rest := _unheard(answer, reply.heard.lstrip())):
        emit(turn.runtime.stream_writer, Token(rest))
    taint = await taint_of_answer(turn, answer)
    said = AIMessage(
        answer,
        id=(message.id if message else None) or f"answer-{state.turn}",
        additional_kwargs={TAINT: taint, **({NOTE: replaced} if replaced else {})},
    )
    turn.mark("failed" if stop_reason == "model_failed" else "answered")
    if turn.res.checkpoints is None or turn.runtime.server_info:  # else it is seen to when the run ends
        await turn.res.settled(turn.thread_id, ended=True)
    return {
        "messages": [said],
        "own_last_id": said.id or "",
        "response": answer,
        "backend": reply.backend if reply else None,
        "stop_reason": stop_reason,
        **total,
        "calls": [],
        **account_of(turn.history.finished(), state.receipts),
    }


def _unheard(answer: str, heard: str) -> str:
    """Return what is left of an answer that was heard so far."""
    return answer[len(heard if answer.startswith(heard) else heard.rstrip()) :]


def account_of(finished: Sequence[FinishedCall], receipts: Iterable[Mapping[str, Any]]) -> Update:
    """Return the turn's calls and receipts, with those left untold before.

    `receipts` are as the state has them.
    """
    own = {each.call.id for each in finished}
    untold = [dict(receipt) for receipt in receipts if receipt["call_id"] not in own]
    told = [
        {
            "tool": each.call.name,
            "args": each.args,
            "result": each.result.text,
            "status": each.result.status,
            "call_id": each.call.id,
        }
        for each in finished
    ]
    return {"tool_calls": told, "receipts": [*untold, *as_receipts(finished)]}


def _cut_note(reply: Reply | None) -> str:
    """Return the note under a cut answer; empty where it is whole."""
    if reply is None or not reply.is_cut:
        return ""
    most = reply.card.max_output_tokens
    where = f"at max_output_tokens = {most:,}" if most else "at the most that it says at once"
    return f"Cut off: model {reply.backend!r} stopped {where}. Ask it to go on."


def closing_note(turn: Turn, reason: str | None, usage: Mapping[str, Any]) -> str:
    """Return the note under an answer that a limit ended.

    `usage` is of the whole turn, its last model call included. Empty where the turn came to its own end, or
    no model was asked.
    """
    why = stopped(turn, reason) if usage.get("model_calls") else ""
    return f"{why} {_outcomes(turn.history.finished())} {_used(usage)}" if why else ""


def fallback_note(failed: Iterable[FailedModel], backend: str) -> str:
    """Return which models took the place of others, and why.

    `backend` is the one that wrote the answer. Empty where each role's first model answered.
    """
    reasons: dict[str, dict[str, None]] = {}
    for each in failed:
        if each["instead"]:
            reasons.setdefault(each["instead"], {})[each["why"]] = None
    return " ".join(
        f"Model {name!r} {'answered' if name == backend else 'took over'}, as others could not. "
        + " ".join(why)
        for name, why in reasons.items()
    )


def _outcomes(finished: Iterable[FinishedCall]) -> str:
    """Return outcomes such as "Done: read_file (2). Failed: web_fetch."."""
    tools: dict[str, Counter[str]] = {}
    for call, result in finished:
        tools.setdefault(result.status, Counter())[call.name] += 1
    told = [
        f"{words}: {listed_tools(tools[status])}." for status, words in _OUTCOMES.items() if status in tools
    ]
    return " ".join(told) or "No tool was used."


def listed_tools(tools: Counter[str]) -> str:
    """Return tools and their uses, such as `read_file (2), web_fetch`."""
    return ", ".join(tool if times == 1 else f"{tool} ({times})" for tool, times in tools.items())


def _used(usage: Mapping[str, Any]) -> str:
    counted = f"{usage.get('counted_tokens', 0):,} tokens"
    reported = None not in (usage.get("input_tokens"), usage.get("output_tokens"))
    cost, known = usage.get("cost_usd"), usage.get("known_cost_usd", 0.0)
    if cost is not None:
        price = dollars(cost) if cost else "at no cost"
    else:
        price = f"at least {dollars(known)}" if known else "at a cost that is not known"
    return f"It took {'' if reported else 'about '}{counted}, {price}."
