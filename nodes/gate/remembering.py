"""Read what a person wants to be asked no more, as it comes with an approval.

    {"where": {"path": "notes/*"}, "until": "2026-12-01T00:00:00Z", "uses": 20}

`until` and `uses` may be null or left out: for good, and any number.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from tools.policy.rules import covers

_LAST = datetime(9000, 1, 1, tzinfo=UTC)
"""Short of where calendars of other programs end."""


class UnreadableError(Exception):
    """What was said cannot be remembered; the text says why, for the person."""


class Remember(BaseModel):
    """Which further calls of a tool are to run unasked."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)

    where: dict[str, str] = Field(min_length=1)
    """Argument to the pattern that its text must match."""
    until: AwareDatetime | None = Field(default=None, strict=False, lt=_LAST)
    """With a time zone; None: for good."""
    uses: int | None = Field(default=None, ge=1, le=1_000_000)
    """None: any number."""


def read_remember(said: Any, args: Mapping[str, Any], now: float) -> Remember:
    """Return what is to be remembered with the approval of a call that has these arguments.

    Raises:
        UnreadableError: it cannot be read, is over already, or would not cover this very call.
    """
    if isinstance(said, Mapping) and not isinstance(said.get("until"), str | None):
        raise UnreadableError("until is a text such as 2026-12-01T00:00:00Z.")
    try:
        remember = Remember.model_validate(said)
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(str(part) for part in problem["loc"])
        raise UnreadableError(f"{place}: {problem['msg']}." if place else f"{problem['msg']}.") from None
    if remember.until and remember.until.timestamp() <= now:
        raise UnreadableError(f"until {_shown(remember.until)} is over already.")
    if not covers(remember.where, args):
        raise UnreadableError("the rule would not cover this call itself.")
    return remember


def _shown(moment: datetime) -> str:
    return moment.isoformat(sep=" ", timespec="minutes")
