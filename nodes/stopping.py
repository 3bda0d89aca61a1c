"""Why a turn ended early and what came of it, in words that no model wrote."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from nodes.budget import ceiling, round_limit
from nodes.records import Record, records_of
from nodes.turn import Turn

_WHY: Mapping[str, Callable[[Turn], str]] = {
    "rounds": lambda turn: f"at the limit of {_count(round_limit(turn), 'round')}",
    "tool_calls": lambda turn: f"at the limit of {_count(ceiling(turn, 'max_tool_calls'), 'tool call')}",
    "tokens": lambda turn: f"at the limit of {_count(ceiling(turn, 'max_tokens'), 'token')}",
    "cost": lambda turn: f"at the limit of {dollars(ceiling(turn, 'max_cost_usd') or 0)}",
    "deadline": lambda turn: f"at the limit of {_count(ceiling(turn, 'deadline_s'), 'second')}",
    "repeats": lambda _turn: "because the same calls were repeated over and over",
}
_BECAME = {
    "executed": "done",
    "failed": "failed",
    "denied": "not allowed",
    "expired": "approved too late",
    "superseded": "given up",
    "unknown": "unknown whether done",
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
        Empty where the turn came to its own end.
    """
    why = stopped(turn, reason)
    return f"{why} {_calls(records_of(turn.state))} {_used(usage)}" if why else ""


def dollars(amount: float) -> str:
    """Return an amount as people write it, with four digits where it is less than a cent or so."""
    return f"${amount:,.2f}" if amount >= 1 or not amount else f"${amount:.4f}"


def _calls(records: Iterable[Record]) -> str:
    """Return what became of the calls, by outcome, such as "Done: read_file (2). Failed: web_fetch"."""
    tools: dict[str, Counter[str]] = {}
    for record in records:
        tools.setdefault(record.status, Counter())[record.tool] += 1
    told = [
        f"{_BECAME[status].capitalize()}: {', '.join(_times(tool, n) for tool, n in tools[status].items())}."
        for status in _BECAME
        if status in tools
    ]
    return " ".join(told) or "No tool was used."


def _times(tool: str, count: int) -> str:
    return tool if count == 1 else f"{tool} ({count})"


def _used(usage: Mapping[str, Any]) -> str:
    counted = f"{usage.get('counted_tokens', 0):,} tokens"
    reported = None not in (usage.get("input_tokens"), usage.get("output_tokens"))
    cost, known = usage.get("cost_usd"), usage.get("known_cost_usd", 0.0)
    if cost is not None:
        price = dollars(cost)
    else:
        price = f"at least {dollars(known)}" if known else "at a cost that is not known"
    return f"It took {'' if reported else 'about '}{counted}, {price}."


def _count(number: float | None, thing: str) -> str:
    return f"{number:,g} {thing}{'' if number == 1 else 's'}"
