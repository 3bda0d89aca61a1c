"""How much of a turn's limits is spent."""

import time
from typing import Literal

from langchain_core.messages import AIMessage

from nodes.gate.repeats import is_stuck
from nodes.turn.calls import rounds_of
from nodes.turn.turn import Turn

Ceiling = Literal["max_tool_calls", "max_tokens", "max_cost_usd", "deadline_s"]


def round_limit(turn: Turn) -> int:
    """Return the most planner calls in a turn: the least of the context's, the model's and the global."""
    limits = (turn.context.max_rounds, turn.planner.max_rounds, turn.limits.max_rounds)
    return min(limit for limit in limits if limit)


def ceiling(turn: Turn, name: Ceiling) -> float | None:
    """Return a limit of the turn, the smaller of the context's and the global one; None: there is none."""
    limits = (getattr(turn.context, name), getattr(turn.limits, name))
    return min((limit for limit in limits if limit is not None), default=None)


def spent(turn: Turn) -> str | None:
    """Return which limit the turn has reached, as its stop reason; None while there is room."""
    usage = turn.state.usage
    calls, seconds = calls_left(turn), seconds_left(turn)
    reached = {
        "rounds": turn.state.rounds >= round_limit(turn),
        "tool_calls": calls is not None and calls <= 0,
        "tokens": _over(usage.get("counted_tokens", 0), ceiling(turn, "max_tokens")),
        "cost": _over(usage.get("known_cost_usd", 0.0), ceiling(turn, "max_cost_usd")),
        "deadline": seconds is not None and seconds <= 0,
        "repeats": is_stuck(turn),
    }
    return next((reason for reason, over in reached.items() if over), None)


def calls_left(turn: Turn) -> int | None:
    """Return how many more tool calls the turn may make; None without a limit."""
    most = ceiling(turn, "max_tool_calls")
    if most is None:
        return None
    made = sum(len(m.tool_calls) for m in rounds_of(turn.state) if isinstance(m, AIMessage))
    return int(most) - made


def seconds_left(turn: Turn) -> float | None:
    """Return how long the turn may still work, a person's thinking time not counted; None without a limit."""
    most = ceiling(turn, "deadline_s")
    if most is None:
        return None
    return most - (time.time() - turn.state.started_at - turn.state.waited_s)


def last_try(turn: Turn) -> float | None:
    """Return the `time.monotonic()` after which no model is tried again; None without a limit.

    A turn past its deadline still gets the time to say what was done.
    """
    left = seconds_left(turn)
    return time.monotonic() + left if left and left > 0 else None


def _over(used: float, most: float | None) -> bool:
    return most is not None and used >= most
