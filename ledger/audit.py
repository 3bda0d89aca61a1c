"""The audit: calls that were asked about or begun."""

import json
from typing import Any, TypedDict

from sqlalchemy import ColumnElement, Connection, func, or_, select

from ledger.records import CallKey
from ledger.tables import calls, matching, parsed, rows_of, unknown_outcomes

_COLUMNS = (
    *("thread", "turn", "call_id", "user", "role", "model", "tool", "args", "effect"),
    *("decision", "decided_by", "decided_at", "status"),
    *("started_at", "duration_ms", "result_size", "result_sha256"),
)
_SEARCHED = (calls.c.tool, calls.c.args)
_REASKED = ("attempt", "decision", "decided_by", "decided_at")


class AuditFilters(TypedDict, total=False):
    """Which calls to return; None: no filter."""

    thread: str | None
    user: str | None
    tool: str | None
    status: str | None
    words: str | None
    """What their tool or arguments hold, in any case."""
    before: int | None
    """The `number` of a call that is newer than all of them."""


def listed(
    connection: Connection, filters: AuditFilters, limit: int | None, *, numbered: bool = False
) -> list[dict[str, Any]]:
    """Return the newest calls that match, newest last, with their decisions.

    One that a model has only planned is not among them. `numbered`: with the `number` that `before` takes.
    """
    shown = [calls.c[name] for name in _COLUMNS] + ([calls.c.id.label("number")] if numbered else [])
    exact = {name: filters.get(name) for name in ("thread", "user", "tool", "status")}
    query = select(*shown).where(*matching(calls, exact), calls.c.status != "planned")
    if words := filters.get("words"):
        query = query.where(_holds(words))
    if (before := filters.get("before")) is not None:
        query = query.where(calls.c.id < before)
    found = rows_of(connection, query.order_by(calls.c.id.desc()).limit(limit))
    asked: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    of_thread = matching(unknown_outcomes, {name: exact[name] for name in ("thread", "user")})
    for row in rows_of(connection, select(unknown_outcomes).where(*of_thread)):
        told = {name: row[name] for name in _REASKED}
        asked.setdefault(tuple(row[name] for name in CallKey._fields), []).append(told)
    return [
        {
            **row,
            "args": {"unreadable": row["args"]} if (args := parsed(row["args"])) is None else args,
            "unknown_outcomes": asked.get(tuple(row[name] for name in CallKey._fields), []),
        }
        for row in reversed(found)
    ]


def _holds(words: str) -> ColumnElement[bool]:
    """Return the condition that a call's tool or arguments hold words.

    Arguments are stored as JSON in ASCII: of other letters, those as they were typed are found.
    """
    spelled = {json.dumps(each)[1:-1].lower() for each in (words, words.lower())}
    return or_(
        *(func.lower(column).contains(each, autoescape=True) for column in _SEARCHED for each in spelled)
    )
