"""What a user may use in a day, whichever turns, threads and processes used it."""

import time
from dataclasses import dataclass
from typing import Literal

from nodes.amounts import count, dollars
from nodes.turn import Turn

_DAY_S = 86_400
DailyCeiling = Literal["max_tokens_per_day", "max_cost_usd_per_day"]


@dataclass(frozen=True, slots=True)
class Exhausted:
    """The day's allowance is used up."""

    reason: str
    """The stop reason; see `graphs.events.Result`."""
    used: str
    """In words, with its unit."""
    limit: str

    def refusal(self) -> str:
        """Return what a person reads whose turn cannot begin."""
        minutes = int(_DAY_S - time.time() % _DAY_S) // 60
        return (
            f"Today's allowance is used up: {self.used} of {self.limit}. No model was asked, and nothing was "
            f"done. The count begins anew at midnight UTC, in {minutes // 60} h {minutes % 60} min. "
            "Say it again then; this conversation is kept."
        )


def daily_ceiling(turn: Turn, name: DailyCeiling) -> float | None:
    """Return the user's own limit of a day, else the one for everybody; None where there is none."""
    own: float | None = getattr(turn.res.settings.user(turn.person.user), name)
    everybodys: float | None = getattr(turn.limits, name)
    return everybodys if own is None else own


async def exhausted(turn: Turn) -> Exhausted | None:
    """Return what of the day's allowance is used up; None while there is room, or no limit.

    What is on record for the user's day is summed anew before each round, from an index that holds all that
    takes: under a millisecond where the day has 5,000 model calls, next to nothing beside the one to come. So
    turns that run at once count each other, in this process or another; they may pass the limit by what each
    had begun, for a model call is on record when it ends. Without a daily limit nothing is asked.
    """
    tokens = daily_ceiling(turn, "max_tokens_per_day")
    cost = daily_ceiling(turn, "max_cost_usd_per_day")
    if tokens is None and cost is None:
        return None
    used_tokens, used_cost = await turn.res.ledger.used_on(turn.person.user, time.time())
    if tokens is not None and used_tokens >= tokens:
        return Exhausted("tokens_per_day", f"{used_tokens:,}", count(tokens, "token"))
    if cost is not None and used_cost >= cost:
        return Exhausted("cost_per_day", dollars(used_cost), dollars(cost))
    return None
