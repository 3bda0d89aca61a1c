"""The audit: calls that were asked about or begun."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, select

from ledger.records import CallKey
from ledger.tables import calls, matching, parsed, rows_of, unknown_outcomes

_AUDITED = (
    *("thread", "turn", "call_id", "user", "role", "model", "tool", "args", "effect"),
    *("decision", "decided_by", "decided_at", "status"),
    *("started_at", "duration_ms", "result_size", "result_sha256"),
)
_REASKED = ("attempt", "decision", "decided_by", "decided_at")


def listed(connection: Connection, filters: Mapping[str, Any], limit: int | None) -> list[dict[str, Any]]:
    """Return the newest calls that match, newest last, with their decisions.

    One that a model has only planned is not among them.
    """
    query = select(*(calls.c[name] for name in _AUDITED)).order_by(calls.c.id.desc()).limit(limit)
    found = rows_of(connection, query.where(*matching(calls, filters), calls.c.status != "planned"))
    asked: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    of_thread = matching(unknown_outcomes, {"thread": filters["thread"], "user": filters["user"]})
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
