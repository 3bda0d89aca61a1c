"""Usage, audit and threads: what is written as it happens and read by people."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

from sqlalchemy import Column, Connection, Table, func, select, update
from sqlalchemy.sql import ColumnElement, Select

from ledger.owner import is_gone
from ledger.records import Used
from ledger.tables import calls, doubts, insert, threads, usage

Grouping = Literal["user", "model", "turn", "day"]

_GROUPS: Mapping[Grouping, tuple[Column[Any], ...]] = {
    "user": (usage.c.user,),
    "model": (usage.c.backend, usage.c.model),
    "turn": (usage.c.thread, usage.c.turn),
    "day": (usage.c.day,),
}
BEGUN = "begun"
"""The error of a model call that has not ended; for good where its process died."""
_SUMMED = ("input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens", "cost_usd", "duration_ms")
_AUDITED = (
    *("thread", "turn", "call_id", "user", "role", "model", "tool", "args", "effect"),
    *("decision", "decided_by", "decided_at", "status"),
    *("started_at", "duration_ms", "result_size", "result_sha256"),
)


def record_usage(connection: Connection, use: Mapping[str, Any]) -> None:
    """Add one model call, under its day in UTC."""
    connection.execute(usage.insert().values(**use, day=_day_of(use["at"])))


def book(
    connection: Connection, use: Mapping[str, Any], most_tokens: float | None, most_usd: float | None
) -> int | Used:
    """Add a model call that is about to begin; where its user's day is used up, return what is used instead.

    The writer takes the database's one write lock, so that of two that begin at once the later one counts the
    other. A call that never ends stays as it was booked: it may have been billed.
    """
    day = _day_of(use["at"])
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(func.hashtext(f"{use['user']} {day}"))))
    tokens, usd = used_on(connection, use["user"], use["at"])
    if (most_tokens is not None and tokens >= most_tokens) or (most_usd is not None and usd >= most_usd):
        mine = {"user": use["user"], "day": day, "error": BEGUN}
        unended = connection.scalar(select(func.count()).where(*_matching(usage, mine)))
        return Used(tokens, usd, unended or 0)
    added = usage.insert().values(**use, day=day).returning(usage.c.id)
    number: int = connection.execute(added).scalar_one()
    return number


def settle(connection: Connection, number: int, use: Mapping[str, Any] | None) -> None:
    """Put what a booked call took in the place of what was booked; None: it was never made."""
    mine = usage.c.id == number
    changed = usage.delete() if use is None else usage.update().values(**use, day=_day_of(use["at"]))
    connection.execute(changed.where(mine))


def used_on(connection: Connection, user: str, at: float) -> tuple[int, float]:
    """Return the tokens and US dollars on record for a user's day: the UTC day of that moment."""
    sums = select(func.sum(usage.c.counted_tokens), func.sum(usage.c.cost_usd))
    query = sums.where(*_matching(usage, {"user": user, "day": _day_of(at)}))
    tokens, usd = connection.execute(query).one()
    return tokens or 0, usd or 0.0


def list_usage(connection: Connection, filters: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the model calls that match, oldest first."""
    shown = [column for column in usage.c if column.name not in {"id", "day"}]
    query = select(*shown).where(*_matching(usage, filters)).order_by(usage.c.id)
    return _rows(connection, query)


def total_usage(connection: Connection, by: Grouping, filters: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return sums of what is known, by group; None where nothing is."""
    sums = [func.sum(usage.c[name]).label(name) for name in _SUMMED]
    counts = [
        func.count().label("model_calls"),
        (func.count() - func.count(usage.c.cost_usd)).label("unpriced_calls"),
    ]
    query = select(*_GROUPS[by], *counts, *sums).where(*_matching(usage, filters))
    return _rows(connection, query.group_by(*_GROUPS[by]).order_by(func.min(usage.c.id)))


def list_audit(connection: Connection, filters: Mapping[str, Any], limit: int | None) -> list[dict[str, Any]]:
    """Return the newest calls that match, newest last, each with what was decided about it when in doubt.

    One that a model has only planned is not among them.
    """
    shown = [calls.c[name] for name in _AUDITED]
    wanted = (*_matching(calls, filters), calls.c.status != "planned")
    query = select(*shown).where(*wanted).order_by(calls.c.id.desc()).limit(limit)
    doubted: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in _rows(connection, select(doubts).where(*_matching(doubts, {"thread": filters["thread"]}))):
        told = {name: row[name] for name in ("attempt", "decision", "decided_by", "decided_at")}
        doubted.setdefault(_call_of(row), []).append(told)
    return [
        {**row, "args": _read(row["args"]), "doubts": doubted.get(_call_of(row), [])}
        for row in reversed(_rows(connection, query))
    ]


def touch(connection: Connection, row: Mapping[str, Any]) -> None:
    """Insert or update a thread; its user and creation stay, its title where none is given."""
    fresh = insert(connection.dialect, threads).values(**row, created_at=row["updated_at"])
    kept_title = func.coalesce(fresh.excluded.title, threads.c.title)
    changes = {name: row[name] for name in ("status", "updated_at", "owner")} | {"title": kept_title}
    since = None
    if row["status"] == "waiting":
        since = func.coalesce(threads.c.waiting_since, fresh.excluded.waiting_since)
    connection.execute(
        fresh.on_conflict_do_update(index_elements=["thread"], set_={**changes, "waiting_since": since})
    )


def list_threads(connection: Connection, filters: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the threads that match, the last touched last."""
    query = select(threads).where(*_matching(threads, filters))
    return [
        _standing(row) for row in _rows(connection, query.order_by(threads.c.updated_at, threads.c.thread))
    ]


def take_up(connection: Connection, thread: str, owner: str) -> None:
    """Note that an owner goes on with a thread's turn."""
    now_running = {"status": "running", "owner": owner, "waiting_since": None}
    connection.execute(update(threads).where(threads.c.thread == thread).values(now_running))


def _standing(row: dict[str, Any]) -> dict[str, Any]:
    owner = row.pop("owner")
    gone = row["status"] == "running" and owner is not None and is_gone(owner)
    return {**row, "status": "interrupted"} if gone else row


def _day_of(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).date().isoformat()


def _matching(table: Table, filters: Mapping[str, Any]) -> list[ColumnElement[bool]]:
    """Return the conditions of the filters that are given; `since` is inclusive."""
    given = {name: value for name, value in filters.items() if value is not None}
    since = given.pop("since", None)
    conditions = [table.c[name] == value for name, value in given.items()]
    return conditions if since is None else [*conditions, table.c.at >= since]


def _rows(connection: Connection, query: Select[Any]) -> list[dict[str, Any]]:
    return [dict(row) for row in connection.execute(query).mappings()]


def _call_of(row: Mapping[str, Any]) -> tuple[str, str]:
    return row["thread"], row["call_id"]


def _read(args: str) -> Any:
    """Return stored arguments; what is no JSON is shown as it is: one bad row must not hide the others."""
    try:
        return json.loads(args)
    except ValueError:
        return {"unreadable": args}
