"""What a user may use in a day, whichever turns, threads and processes used it.

Each round is booked before its model is asked, and settled when the model has answered. So the limit is
passed at most by the call that reaches it, by what turns then need to end (a last word, an explanation, an
answer), by what fails before a model answers, and by how far a call goes beyond what was booked: about what
its prompt takes, and all that the model may say where its card has max_output_tokens.
"""

import time
from dataclasses import dataclass
from typing import Literal, get_args

from base.texts import count, dollars
from ledger.records import Use
from nodes.turn.turn import Turn

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
    unended: int
    """How many model calls of that have not ended, and are counted by what they may take."""

    def refusal(self) -> str:
        """Return what a person reads whose turn cannot begin."""
        minutes = int(_DAY_S - time.time() % _DAY_S) // 60
        other = f", counting what {count(self.unended, 'model call')} not yet ended may take"
        return (
            f"Today's allowance is used up: {self.used} of {self.limit}{other if self.unended else ''}. "
            "No model was asked, and nothing was done. The count begins anew at midnight UTC, in "
            f"{minutes // 60} h {minutes % 60} min. "
            "Say it again then; this conversation is kept."
        )


def daily_ceiling(turn: Turn, name: DailyCeiling) -> float | None:
    """Return the user's own limit of a day, else the one for everybody; None where there is none."""
    own: float | None = getattr(turn.res.settings.user(turn.person.user), name)
    everybodys: float | None = getattr(turn.limits, name)
    return everybodys if own is None else own


def has_daily_limit(turn: Turn) -> bool:
    """Tell whether the user's day is limited at all; where it is not, nothing need be booked."""
    return any(daily_ceiling(turn, name) is not None for name in get_args(DailyCeiling))


async def book(turn: Turn, use: Use) -> int | Exhausted:
    """Book a model call that is about to begin, or return what of the user's day is used up.

    What is on record for the day is summed and the call added to it in one transaction, from an index that
    holds all that takes: turns that run at once count each other, in this process or another.
    """
    tokens, usd = daily_ceiling(turn, "max_tokens_per_day"), daily_ceiling(turn, "max_cost_usd_per_day")
    found = await turn.res.ledger.book_usage(use, tokens, usd)
    if isinstance(found, int):
        return found
    if tokens is not None and found.tokens >= tokens:
        return Exhausted("tokens_per_day", f"{found.tokens:,}", count(tokens, "token"), found.unended)
    return Exhausted("cost_per_day", dollars(found.usd), dollars(usd or 0), found.unended)
