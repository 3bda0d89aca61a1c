"""Usage of models: booked, settled, summed by day."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal, TypedDict

from sqlalchemy import Connection, bindparam, func, select

from ledger.records import TurnUsed, Used
from ledger.tables import calls, matching, rows_of, total, usage

Grouping = Literal["user", "model", "role", "turn", "day"]


class UsageFilters(TypedDict, total=False):
    """Which model calls to return; None: no filter."""

    user: str | None
    since: float | None
    """Seconds since the epoch, inclusive."""
    thread: str | None
    turn: str | None


GROUPS: Mapping[Grouping, tuple[str, ...]] = {
    "user": ("user",),
    "model": ("backend", "model"),
    "role": ("role",),
    "turn": ("thread", "turn"),
    "day": ("day",),
}
BEGUN = "begun"
"""The error of a model call that has not ended; for good where its process died."""
PLANNER = "orchestrator"
"""The role of the calls that plan a round."""
DOCTOR = "doctor"
"""The role, thread and turn of the calls by which `twobrain doctor` tries models."""
_SUMMED = ("input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens", "cost_usd", "duration_ms")

_ADDED = usage.insert()


def record(connection: Connection, use: Mapping[str, Any]) -> None:
    """Add one model call, under its day in UTC."""
    connection.execute(_ADDED, _by_day(use))


def book(
    connection: Connection, use: Mapping[str, Any], most_tokens: float | None, most_usd: float | None
) -> int | Used:
    """Add a model call that begins, unless the day is used up.

    Nothing else of its user is booked meanwhile, so that of two that begin at once the later one counts the
    other. A call that never ends stays as it was booked: it may have been billed.
    """
    row = _by_day(use)
    tokens, usd = used_on(connection, use["user"], use["at"])
    if (most_tokens is not None and tokens >= most_tokens) or (most_usd is not None and usd >= most_usd):
        mine = {"user": use["user"], "day": row["day"], "error": BEGUN}
        unended = connection.scalar(select(func.count()).where(*matching(usage, mine)))
        return Used(tokens, usd, unended or 0)
    number: int = connection.execute(_ADDED.returning(usage.c.id), row).scalar_one()
    return number


def settle(connection: Connection, number: int, use: Mapping[str, Any] | None) -> None:
    """Replace what was booked by what was used; None: never made."""
    if use is None:
        connection.execute(usage.delete().where(usage.c.id == number))
    else:
        row = {**_by_day(use), "number": number}
        connection.execute(usage.update().where(usage.c.id == bindparam("number")), row)


def used_on(connection: Connection, user: str, at: float) -> tuple[int, float]:
    """Return a user's tokens and US dollars of that UTC day."""
    sums = select(total(usage.c.counted_tokens), total(usage.c.cost_usd))
    query = sums.where(*matching(usage, {"user": user, "day": _day_of(at)}))
    tokens, usd = connection.execute(query).one()
    return tokens or 0, usd or 0.0


def used_in(connection: Connection, user: str, thread: str, turn: str) -> TurnUsed:
    """Return what a user's turn has used, in all its branches."""
    of = {"user": user, "thread": thread, "turn": turn}
    rounds = func.count().filter(usage.c.role == PLANNER, usage.c.error.is_(None))
    sums = [func.coalesce(total(usage.c[name]), 0) for name in ("counted_tokens", "cost_usd", "duration_ms")]
    found = connection.execute(select(rounds, *sums).where(*matching(usage, of))).one()
    made = connection.scalar(select(func.count()).where(*matching(calls, of)))
    return TurnUsed(found[0], found[1], found[2], found[3] / 1_000, made or 0)


def listed(connection: Connection, filters: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the model calls that match, oldest first."""
    shown = [column for column in usage.c if column.name not in {"id", "day"}]
    return rows_of(connection, select(*shown).where(*matching(usage, filters)).order_by(usage.c.id))


def totals(connection: Connection, by: Grouping, filters: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return sums of what is known, by group; None where nothing is."""
    sums = [total(usage.c[name]).label(name) for name in _SUMMED]
    counts = [
        func.count().label("model_calls"),
        (func.count() - func.count(usage.c.cost_usd)).label("unpriced_calls"),
    ]
    if by == "turn":
        counts.append(func.min(usage.c.at).label("began_at"))
    groups = [usage.c[name] for name in GROUPS[by]]
    query = select(*groups, *counts, *sums).where(*matching(usage, filters))
    return rows_of(connection, query.group_by(*groups).order_by(func.min(usage.c.id)))


def day_ends(at: float) -> float:
    """Return when the day of a time ends.

    Days are UTC's, so that all processes that share a ledger count the same.
    """
    return (at // 86_400 + 1) * 86_400


def _by_day(use: Mapping[str, Any]) -> dict[str, Any]:
    return {**use, "day": _day_of(use["at"])}


def _day_of(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).date().isoformat()
