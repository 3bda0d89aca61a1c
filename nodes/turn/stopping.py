"""Why a turn ended early and what came of it, in words that no model wrote."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from base.texts import count, dollars
from nodes.turn.allowance import daily_ceiling
from nodes.turn.calls import Record, records_of
from nodes.turn.limits import ceiling, round_limit
from nodes.turn.turn import Turn

_WHY: Mapping[str, Callable[[Turn], str]] = {
    "rounds": lambda turn: f"at the limit of {count(round_limit(turn), 'round')}",
    "tool_calls": lambda turn: f"at the limit of {count(ceiling(turn, 'max_tool_calls') or 0, 'tool call')}",
    "tokens": lambda turn: f"at the limit of {count(ceiling(turn, 'max_tokens') or 0, 'token')}",
    "cost": lambda turn: f"at the limit of {dollars(ceiling(turn, 'max_cost_usd') or 0)}",
    "deadline": lambda turn: f"at the limit of {count(ceiling(turn, 'deadline_s') or 0, 'second')}",
    "repeats": lambda _turn: "because the same calls were repeated over and over",
    "tokens_per_day": lambda turn: (
        f"at the limit of {count(daily_ceiling(turn, 'max_tokens_per_day') or 0, 'token')} a day"
    ),
    "cost_per_day": lambda turn: (
        f"at the limit of {dollars(daily_ceiling(turn, 'max_cost_usd_per_day') or 0)} a day"
    ),
}
_BECAME = {
    "executed": "Done",
    "failed": "Failed",
    "denied": "Not allowed",
    "expired": "Approved too late",
    "superseded": "Given up",
    "unknown": "Unknown whether done",
}


def stopped(turn: Turn, reason: str | None) -> str:
    """Return one sentence on why the turn ended early; empty where it did not.

    Args:
        turn: the turn.
        reason: its stop reason; see `graphs.events.Result`.
    """
    why = _WHY.get(reason or "")
    return f"Stopped {why(turn)}, so something may remain to be done." if why else ""


def closing_note(turn: Turn, reason: str | None, usage: Mapping[str, Any]) -> str:
    """Return what stands under the answer of a turn that ended early: why, what was done, what it cost.

    Args:
        turn: the turn.
        reason: its stop reason.
        usage: of the whole turn, its last model call included.

    Returns:
        Empty where the turn came to its own end, or no model was asked.
    """
    why = stopped(turn, reason) if usage.get("model_calls") else ""
    return f"{why} {_calls(records_of(turn.state))} {_used(usage)}" if why else ""


def _calls(records: Iterable[Record]) -> str:
    """Return what became of the calls, by outcome, such as "Done: read_file (2). Failed: web_fetch."."""
    tools: dict[str, Counter[str]] = {}
    for record in records:
        tools.setdefault(record.status, Counter())[record.tool] += 1
    told = [f"{words}: {_listed(tools[status])}." for status, words in _BECAME.items() if status in tools]
    return " ".join(told) or "No tool was used."


def _listed(tools: Counter[str]) -> str:
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
