"""The life of a call, as operations on its one row.

planned ──claimed, where nobody has to be asked──┐
   └─asked→ waiting ──approved──→ ready ──claimed──→ running ──finished──→ executed · failed · …
               └─ rejected, too late, superseded ─────────────────────→ denied · expired · superseded
                                                     ├─ owner gone, claimed again → running
                                                     └─ owner gone, superseded or counted as done → unknown

A call is entered when a model makes it, before any step can run it. So a ledger that does not know a call is
not the one that the conversation was held with: it was lost, or put back from an older copy. Such a call
counts as begun by an owner that is gone.

What a person decides is in ledger.decisions, who runs it in ledger.claims.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache
from typing import Any, get_args

from sqlalchemy import Connection, Dialect, Insert, bindparam, select, update

from base.errors import StorageError
from ledger.owner import is_gone
from ledger.records import Lost, OpenCall, Recorded, Running, Status
from ledger.tables import calls, insert

FINAL = frozenset(get_args(Status))
_RAN = frozenset({"executed", "failed"})
_UNBEGUN = frozenset({"planned", "waiting", "ready"})
SUPERSEDED = "Not executed: superseded by a newer message."
_UNKNOWN = "Outcome unknown: what ran it ended without a word, so it may or may not have happened."
_NO_RECORD = (
    "Outcome unknown: the ledger was lost, or put back from an older copy, and has no record of it. It may "
    "or may not have happened."
)
_BEGUN_BY_NOBODY = {"status": "running", "owner": "", "lease_until": 0.0, "started_at": None}
_CALL = select(calls).where(calls.c.thread == bindparam("thread"), calls.c.call_id == bindparam("call_id"))
_LOCKED = _CALL.with_for_update()
_CHANGED = update(calls).where(calls.c.id == bindparam("row_id"))
"""Every round runs these: a statement with its values in it costs SQLAlchemy 1 ms, one given them 0.1 ms."""
_DAMAGED = "The ledger is damaged: a result in it cannot be read. Put back a copy of the ledger."


def add(connection: Connection, row: Mapping[str, Any]) -> bool:
    """Insert a call's row; False where there is one already."""
    return connection.execute(_added(connection.dialect), dict(row)).rowcount == 1


def enter(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> set[str]:
    """Insert calls, all or none; return those ids that are taken."""
    taken = {row["call_id"] for row in rows if locked(connection, row["thread"], row["call_id"])}
    if not taken:
        for row in rows:
            add(connection, {**row, "status": "planned"})
    return taken


def ask(connection: Connection, rows: Sequence[Mapping[str, Any]], expires_at: float | None) -> float | None:
    """Let planned calls wait for a person, unless asked before.

    Returns:
        When the first of those that wait expires; None: none does.
    """
    ends = []
    for wanted in rows:
        add(connection, {**wanted, "status": "planned"})
        row = locked(connection, wanted["thread"], wanted["call_id"])
        if row is not None and row.status == "planned":
            change_row(connection, row, status="waiting", expires_at=expires_at)
            ends.append(expires_at)
        elif row is not None and row.status == "waiting":
            ends.append(row.expires_at)
    return min((end for end in ends if end is not None), default=None)


def close(
    connection: Connection, rows: Sequence[Mapping[str, Any]], agreed: Collection[str], now: float
) -> dict[str, Recorded]:
    """Close each call with its row's status, unless somebody runs it.

    `agreed` are ids of those that the conversation says were agreed to or begun.

    Returns:
        The outcomes on record, by call id.
    """
    found: dict[str, Recorded] = {}
    for wanted in rows:
        row = row_or_lost(connection, wanted, agreed=wanted["call_id"] in agreed)
        lost = _is_lost(row, now)
        if row.status in _UNBEGUN or (lost and row.effect == "read"):
            ended = {name: wanted[name] for name in ("status", "text", "untrusted")}
            change_row(connection, row, **ended)
        elif lost:
            change_row(connection, row, status="unknown", text=_UNKNOWN if row.started_at else _NO_RECORD)
        found |= outcomes(connection, wanted["thread"], [wanted["call_id"]])
    return found


def row_or_lost(connection: Connection, wanted: Mapping[str, Any], *, agreed: bool) -> Any:
    """Return a call's row, locked; a missing record as one lost.

    `wanted` is the row as it would be entered. `agreed`: the conversation says that the call was agreed to or
    begun; a ledger that knows no more than the question is older than that.
    """
    row = locked(connection, wanted["thread"], wanted["call_id"])
    if row is not None and not (agreed and row.status in {"planned", "waiting"}):
        return row
    if row is None:
        add(connection, {**wanted, "status": "planned", "text": None})
        row = locked(connection, wanted["thread"], wanted["call_id"])
    lose(connection, row, 1, fingerprint=wanted["fingerprint"], args=wanted["args"])
    return locked(connection, wanted["thread"], wanted["call_id"])


def recall(connection: Connection, rows: Iterable[Mapping[str, Any]]) -> None:
    """Enter missing records with their outcome, or as lost."""
    for row in rows:
        if row["status"] in FINAL:
            add(connection, row)
        else:
            row_or_lost(connection, row, agreed=False)


def lose(connection: Connection, row: Any, attempt: int, **changes: Any) -> None:
    """Record an attempt as lost that the ledger knew nothing of."""
    change_row(connection, row, **_BEGUN_BY_NOBODY, attempts=attempt, **changes)


def outcomes(connection: Connection, thread: str, call_ids: Sequence[str]) -> dict[str, Recorded]:
    """Return the outcomes on record, by call id."""
    rows = [_call(connection, thread, call_id) for call_id in call_ids]
    return {row.call_id: recorded(row) for row in rows if row is not None and row.status in FINAL}


def known(connection: Connection, thread: str) -> set[str]:
    """Return the ids of a thread's calls."""
    return set(connection.scalars(select(calls.c.call_id).where(calls.c.thread == thread)))


def still_open(connection: Connection, thread: str, now: float) -> list[OpenCall]:
    """Return a thread's calls that wait, run or are lost, in order."""
    done = {*FINAL, "planned"}
    query = select(calls).where(calls.c.thread == thread, calls.c.status.not_in(done)).order_by(calls.c.id)
    return [
        OpenCall(row.call_id, row.tool, "lost" if _is_lost(row, now) else row.status)
        for row in connection.execute(query)
    ]


def _is_lost(row: Any, now: float) -> bool:
    return row.status == "running" and isinstance(held_by(row, now), Lost)


def state_of(
    connection: Connection, thread: str, call_id: str, now: float
) -> Recorded | Running | Lost | None:
    """Return how a call stands; None where nobody has claimed it."""
    row = _call(connection, thread, call_id)
    if row is None or row.status in _UNBEGUN:
        return None
    return recorded(row) if row.status in FINAL else held_by(row, now)


def recorded(row: Any) -> Recorded:
    """Return the outcome that a row holds; unmarked results are untrusted.

    Raises:
        StorageError: SQLite's columns take any type, and the result is no text.
    """
    if not isinstance(row.text, str | None):
        raise StorageError(_DAMAGED)
    is_untrusted = row.status in _RAN if row.untrusted is None else bool(row.untrusted)
    return Recorded(row.status, row.text or "", is_untrusted)


def held_by(row: Any, now: float) -> Running | Lost:
    """Return how a claim stands that has no outcome yet."""
    gone = row.lease_until <= now or is_gone(row.owner)
    return Lost(row.started_at, row.attempts) if gone else Running(row.started_at)


def locked(connection: Connection, thread: str, call_id: str) -> Any | None:
    """Return a call's row, locked in this transaction; None: there is none."""
    return connection.execute(_LOCKED, {"thread": thread, "call_id": call_id}).one_or_none()


def change_row(connection: Connection, row: Any, **values: Any) -> None:
    """Write into the row of a call."""
    connection.execute(_CHANGED, {**values, "row_id": row.id})


def _call(connection: Connection, thread: str, call_id: str) -> Any | None:
    return connection.execute(_CALL, {"thread": thread, "call_id": call_id}).one_or_none()


@cache
def _added(dialect: Dialect) -> Insert:
    return insert(dialect, calls).on_conflict_do_nothing()
