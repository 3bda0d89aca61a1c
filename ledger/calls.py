"""The life of a call, as operations on its one row.

waiting ──approved──→ ready ──claimed──→ running ──finished──→ executed · failed · …
   └─ rejected, too late, superseded ───────────────────────→ denied · expired · superseded
                                           ├─ owner gone, claimed again → running
                                           └─ owner gone, superseded or counted as done → unknown

What a person decides is in ledger.decisions, who runs it in ledger.claims, and what is asked about a call
whose owner is gone in ledger.doubts.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any, get_args

from sqlalchemy import Connection, Dialect, bindparam, select, update
from sqlalchemy.sql import ClauseElement

from ledger.owner import is_gone
from ledger.records import Lost, OpenCall, Recorded, Running, Status
from ledger.statements import change, fetch
from ledger.tables import calls, insert

FINAL = frozenset(get_args(Status))
SUPERSEDED = "Not executed: superseded by a newer message."
_UNKNOWN = "Outcome unknown: what ran it ended without a word, so it may or may not have happened."
_ONE = (calls.c.thread == bindparam("thread")) & (calls.c.call_id == bindparam("call_id"))
_CALL = select(calls).where(_ONE)
_LOCKED = _CALL.with_for_update()


def add(connection: Connection, rows: Iterable[Mapping[str, Any]]) -> None:
    """Insert rows of calls; those that are there already are left alone."""
    for row in rows:
        change(connection, _adding(connection.dialect, frozenset(row)), {"attempts": 0, **row})


def close(connection: Connection, rows: Sequence[Mapping[str, Any]], now: float) -> dict[str, Recorded]:
    """Give each call that did not run the status and text of its row here, unless somebody is running it.

    Returns:
        The outcomes on record, by call id.
    """
    add(connection, rows)
    found: dict[str, Recorded] = {}
    for wanted in rows:
        row = locked(connection, wanted["thread"], wanted["call_id"])
        lost = row is not None and _is_lost(row, now)
        if row is not None and (row.status in {"waiting", "ready"} or (lost and row.effect == "read")):
            change_row(connection, row, status=wanted["status"], text=wanted["text"])
        elif lost:
            change_row(connection, row, status="unknown", text=_UNKNOWN)
        found |= outcomes(connection, wanted["thread"], [wanted["call_id"]])
    return found


def outcomes(connection: Connection, thread: str, call_ids: Sequence[str]) -> dict[str, Recorded]:
    """Return the outcomes on record, by call id; a call without one is left out."""
    rows = [row for call_id in call_ids for row in fetch(connection, _CALL, _key(thread, call_id))]
    return {row.call_id: Recorded(row.status, row.text or "") for row in rows if row.status in FINAL}


def known(connection: Connection, thread: str, call_ids: Sequence[str]) -> set[str]:
    """Return those of the ids that are on record."""
    return {call_id for call_id in call_ids if fetch(connection, _CALL, _key(thread, call_id))}


def still_open(connection: Connection, thread: str, now: float) -> list[OpenCall]:
    """Return the calls of a thread that have no outcome, in the order in which they were made."""
    query = select(calls).where(calls.c.thread == thread, calls.c.status.not_in(FINAL)).order_by(calls.c.id)
    return [
        OpenCall(row.call_id, row.tool, "lost" if _is_lost(row, now) else row.status)
        for row in connection.execute(query)
    ]


def _is_lost(row: Any, now: float) -> bool:
    return row.status == "running" and isinstance(held_by(row, now), Lost)


def standing(
    connection: Connection, thread: str, call_id: str, now: float
) -> Recorded | Running | Lost | None:
    """Return how a call stands; None where nobody has claimed it."""
    found = fetch(connection, _CALL, _key(thread, call_id))
    if not found or found[0].status in {"waiting", "ready"}:
        return None
    row = found[0]
    return Recorded(row.status, row.text or "") if row.status in FINAL else held_by(row, now)


def held_by(row: Any, now: float) -> Running | Lost:
    """Return how a claim stands that has no outcome yet."""
    gone = row.lease_until <= now or is_gone(row.owner)
    return Lost(row.started_at, row.attempts) if gone else Running(row.started_at)


def locked(connection: Connection, thread: str, call_id: str) -> Any | None:
    """Return the row of a call, locked until the transaction ends; None where there is none."""
    found = fetch(connection, _LOCKED, _key(thread, call_id))
    return found[0] if found else None


def change_row(connection: Connection, row: Any, **values: Any) -> None:
    """Write into the row of a call."""
    change(connection, _changing(frozenset(values)), {**values, "row_id": row.id})


def _key(thread: str, call_id: str) -> dict[str, str]:
    return {"thread": thread, "call_id": call_id}


@cache
def _adding(dialect: Dialect, names: frozenset[str]) -> ClauseElement:
    named: dict[str, Any] = {name: bindparam(name) for name in sorted(names | {"attempts"})}
    return insert(dialect, calls).values(named).on_conflict_do_nothing()


@cache
def _changing(names: frozenset[str]) -> ClauseElement:
    named: dict[str, Any] = {name: bindparam(name) for name in sorted(names)}
    return update(calls).where(calls.c.id == bindparam("row_id")).values(named)
