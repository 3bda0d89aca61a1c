"""The limits of a turn and a day, and their words.

Each round is booked on the user's day before its model is asked, and settled when the model has answered. So
a limit of the day is passed at most by the call that reaches it, by what turns then need to end (a last word,
an explanation, an answer), by what fails before a model answers, and by how far a call goes beyond what was
booked: about what its prompt takes, and all that the model may say where its card has max_output_tokens.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, get_args
from zoneinfo import ZoneInfo

from base.texts import count, dollars, local_time
from ledger.records import Use
from ledger.usage import day_ends
from nodes.gate.repeats import is_stuck
from nodes.turn.turn import Turn

ALLOWANCE_USED_UP = "Today's allowance is used up"
COUNT_ANEW = "The count begins anew at {when}."
_REFUSAL = (
    f"{ALLOWANCE_USED_UP}: {{used}} of {{limit}}{{unended}}. No model was asked, and nothing was done. "
    f"{COUNT_ANEW} Say it again then; this conversation is kept."
)
_UNENDED = ", counting what {calls} not yet ended may take"
_STOPPED = "Stopped {why}, so something may remain to be done."

Ceiling = Literal["max_tool_calls", "max_tokens", "max_cost_usd", "deadline_s"]
DailyCeiling = Literal["max_tokens_per_day", "max_cost_usd_per_day"]


@dataclass(frozen=True, slots=True)
class _Limit:
    why: Callable[[Turn], str]
    """Fits behind "Stopped"."""
    is_reached: Callable[[Turn], bool] = lambda _turn: False
    """Never, where it is found when a call is booked."""


_LIMITS = {
    "rounds": _Limit(
        lambda turn: f"at the limit of {count(round_limit(turn), 'round')}",
        lambda turn: turn.state.rounds >= round_limit(turn),
    ),
    "tool_calls": _Limit(
        lambda turn: f"at the limit of {count(ceiling(turn, 'max_tool_calls') or 0, 'tool call')}",
        lambda turn: _is_over(_calls_made(turn), ceiling(turn, "max_tool_calls")),
    ),
    "tokens": _Limit(
        lambda turn: f"at the limit of {count(ceiling(turn, 'max_tokens') or 0, 'token')}",
        lambda turn: _is_over(turn.state.usage.get("counted_tokens", 0), ceiling(turn, "max_tokens")),
    ),
    "cost": _Limit(
        lambda turn: f"at the limit of {dollars(ceiling(turn, 'max_cost_usd') or 0)}",
        lambda turn: _is_over(turn.state.usage.get("known_cost_usd", 0.0), ceiling(turn, "max_cost_usd")),
    ),
    "deadline": _Limit(
        lambda turn: f"at the limit of {count(ceiling(turn, 'deadline_s') or 0, 'second')}",
        lambda turn: _is_over(_worked_s(turn), ceiling(turn, "deadline_s")),
    ),
    "repeats": _Limit(
        lambda _turn: "because the same calls were repeated over and over",
        lambda turn: is_stuck(turn.state.calls, turn.history, turn.res.tools.find),
    ),
    "tokens_per_day": _Limit(
        lambda turn: f"at the limit of {count(daily_ceiling(turn, 'max_tokens_per_day') or 0, 'token')} a day"
    ),
    "cost_per_day": _Limit(
        lambda turn: f"at the limit of {dollars(daily_ceiling(turn, 'max_cost_usd_per_day') or 0)} a day"
    ),
}
"""By stop reason; see `graphs.result.Result`. The first that is reached counts."""


async def on_record(turn: Turn) -> Turn:
    """Return the turn, counted by the ledger where that has more.

    On a server a client may write any field of the state, and the clock may be set back.
    """
    if turn.runtime.server_info is None:
        return turn
    state = turn.state
    used = await turn.res.ledger.used_in(turn.person.user, turn.thread_id, state.turn)
    usage = {
        **state.usage,
        "counted_tokens": max(used.tokens, state.usage.get("counted_tokens", 0)),
        "known_cost_usd": max(used.usd, state.usage.get("known_cost_usd", 0.0)),
    }
    started_at = min(turn.res.ledger.now() - state.waited_s - used.model_s, state.started_at)
    state = replace(state, rounds=max(used.rounds, state.rounds), usage=usage, started_at=started_at)
    return replace(turn, state=state, calls_made=used.calls)


def limit_reached(turn: Turn) -> str | None:
    """Return the stop reason of the limit reached; None: there is room."""
    return next((reason for reason, limit in _LIMITS.items() if limit.is_reached(turn)), None)


def stopped(turn: Turn, reason: str | None) -> str:
    """Return why the turn ended early; empty where it did not.

    For the reasons see `graphs.result.Result`.
    """
    limit = _LIMITS.get(reason or "")
    return _STOPPED.format(why=limit.why(turn)) if limit else ""


def round_limit(turn: Turn) -> int:
    """Return the most planner calls: the least of context, model and global."""
    limits = (turn.context.max_rounds, turn.planner.max_rounds, turn.limits.max_rounds)
    return min(limit for limit in limits if limit)


def ceiling(turn: Turn, name: Ceiling) -> float | None:
    """Return the smaller of the context's and the global limit; None: none."""
    limits = (getattr(turn.context, name), getattr(turn.limits, name))
    return min((limit for limit in limits if limit is not None), default=None)


def calls_left(turn: Turn) -> int | None:
    """Return how many tool calls are left; None without a limit."""
    most = ceiling(turn, "max_tool_calls")
    return None if most is None else int(most) - _calls_made(turn)


def last_try(turn: Turn) -> float | None:
    """Return the `time.monotonic()` of the last try; None without a limit.

    A turn past its deadline still gets the time to say what was done.
    """
    left = seconds_left(turn)
    return time.monotonic() + left if left and left > 0 else None


def _calls_made(turn: Turn) -> int:
    return max(turn.calls_made, len(turn.history.calls))


def seconds_left(turn: Turn) -> float | None:
    """Return how long a turn may still work; None without a limit."""
    most = ceiling(turn, "deadline_s")
    return None if most is None else most - _worked_s(turn)


def _worked_s(turn: Turn) -> float:
    """Return the seconds worked, without a person's thinking time."""
    return turn.res.ledger.now() - turn.state.started_at - turn.state.waited_s


def _is_over(used: float, most: float | None) -> bool:
    return most is not None and used >= most


@dataclass(frozen=True, slots=True)
class Exhausted:
    """The day's allowance is used up."""

    reason: str
    """The stop reason; see `graphs.result.Result`."""
    used: str
    """In words, with its unit."""
    limit: str
    unended: int
    """How many model calls of that have not ended, and are counted by what they may take."""
    zone: ZoneInfo
    """The user's."""

    def refusal(self) -> str:
        """Return what a person reads whose turn cannot begin."""
        now = time.time()
        ends = day_ends(now)
        minutes = int(ends - now) // 60
        anew = f"{local_time(ends, self.zone)} ({self.zone}), in {minutes // 60} h {minutes % 60} min"
        unended = _UNENDED.format(calls=count(self.unended, "model call")) if self.unended else ""
        return _REFUSAL.format(used=self.used, limit=self.limit, unended=unended, when=anew)


def daily_ceiling(turn: Turn, name: DailyCeiling) -> float | None:
    """Return the user's limit of a day, else everybody's; None: none."""
    most: float | None = getattr(turn.limits, name)
    return most


def has_daily_limit(turn: Turn) -> bool:
    """Tell whether the user's day is limited at all."""
    return any(daily_ceiling(turn, name) is not None for name in get_args(DailyCeiling))


async def book(turn: Turn, use: Use) -> int | Exhausted:
    """Book a model call, or return what is used up.

    What is on record for the day is summed and the call added to it in one transaction, from an index that
    holds all that takes: turns that run at once count each other, in this process or another.
    """
    tokens, usd = daily_ceiling(turn, "max_tokens_per_day"), daily_ceiling(turn, "max_cost_usd_per_day")
    found = await turn.res.ledger.book_usage(use, tokens, usd)
    if isinstance(found, int):
        return found
    zone = turn.res.settings.zone(turn.person.user)
    if tokens is not None and found.tokens >= tokens:
        return Exhausted("tokens_per_day", f"{found.tokens:,}", count(tokens, "token"), found.unended, zone)
    return Exhausted("cost_per_day", dollars(found.usd), dollars(usd or 0), found.unended, zone)
