"""The life of a call, as operations on its one row.

planned ──claimed, where nobody has to be asked──┐
   └─asked→ waiting ──approved──→ ready ──claimed──→ running ──finished──→ executed · failed · …
               └─ rejected, too late, superseded ─────────────────────→ denied · expired · superseded
                                                     ├─ owner gone, claimed again → running
                                                     └─ owner gone, superseded or counted as done → unknown

A call is entered when a model makes it, before any step can run it. So a ledger that does not know a call is
not the one that the conversation was held with: it was lost, or put back from an older copy. Such a call
counts as begun by an owner that is gone.

A call is known by its id, and recognised by its turn and what it does, for a model that is asked again makes
it under another id. What was begun in the turn under an id that the conversation does not hold may have
happened: the call that is made anew counts as lost from the start.

What a person decides is in ledger.decisions, who runs it in ledger.claims.
"""

import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache
from typing import Any, get_args

from sqlalchemy import Connection, Dialect, Insert, bindparam, select, update

from base.errors import StorageError
from base.texts import moment
from ledger.owner import is_gone
from ledger.records import CallKey, Entered, Lost, OpenCall, Recorded, Running, Status
from ledger.tables import calls, is_change, matching
from storage.shared_tables import insert

FINAL = frozenset(get_args(Status))
_RAN = frozenset({"executed", "failed"})
_UNBEGUN = frozenset({"planned", "waiting", "ready"})
_BEGUN = frozenset({"executed", "failed", "unknown"})
SUPERSEDED = "Not executed: superseded by a newer message."
_UNKNOWN = "Outcome unknown: what ran it ended without a word, so it may or may not have happened."
_NO_RECORD = (
    "Outcome unknown: the ledger was lost, or put back from an older copy, and has no record of it. It may "
    "or may not have happened."
)
_BEGUN_BEFORE = "Not run again: this very call had been begun before in this turn, on {when}."
_BEGUN_BY_NOBODY = {"status": "running", "owner": "", "lease_until": 0.0, "started_at": None}
_CALL = select(calls).where(*(calls.c[name] == bindparam(name) for name in CallKey._fields))
_KIND = ("user", "thread", "turn", "made")
_ALIKE = (
    select(calls)
    .where(*(calls.c[name] == bindparam(name) for name in _KIND))
    .where(calls.c.attempts > 0, is_change)
    .order_by(calls.c.id)
)
_LOCKED = _CALL.with_for_update()
_CHANGED = update(calls).where(calls.c.id == bindparam("row_id"))
"""Every round runs these: a statement with its values in it costs SQLAlchemy 1 ms, one given them 0.1 ms."""
_DAMAGED = "The ledger is damaged: a result in it cannot be read. Put back a copy of the ledger."


def add(connection: Connection, row: Mapping[str, Any]) -> bool:
    """Insert a call's row; False where there is one already."""
    return connection.execute(_added(connection.dialect), dict(row)).rowcount == 1


def enter(connection: Connection, rows: Sequence[Mapping[str, Any]], held: Collection[str]) -> Entered:
    """Insert calls, all or none; those that may have happened, as lost.

    `held` are ids of the calls that the conversation of their turn holds.
    """
    taken = {row["call_id"] for row in rows if locked(connection, row)}
    if taken:
        return Entered(taken, set())
    made_at_once = uuid.uuid4().hex
    doubted: set[str] = set()
    alike = {row["made"]: _begun_alike(connection, row) for row in rows if row["effect"] != "read"}
    unheld = {made: _unheld(before, held) for made, before in alike.items()}
    for row in rows:
        stands: dict[str, Any] = {"status": "planned"}
        if row["effect"] != "read":
            stands |= {"round": made_at_once, "runs_seen": sum(map(_runs, alike[row["made"]]))}
            if unheld[row["made"]]:
                stands |= _as_begun(unheld[row["made"]].pop())
                doubted.add(row["call_id"])
        add(connection, {**row, **stands})
    return Entered(set(), doubted)


def doubted_since(connection: Connection, row: Any) -> Any:
    """Return a call's row; as lost where its like was begun since."""
    if row.status not in _UNBEGUN or row.effect == "read":
        return row
    others = [one for one in _begun_alike(connection, row._asdict()) if one.round != row.round]
    if sum(map(_runs, others)) <= row.runs_seen:
        return row
    latest = max((one for one in others if _runs(one)), key=lambda one: one.started_at or 0.0)
    change_row(connection, row, **_as_begun(latest))
    return locked(connection, row._asdict())


def _begun_alike(connection: Connection, wanted: Mapping[str, Any]) -> Sequence[Any]:
    """Return a turn's calls that were made alike and begun, in order."""
    return connection.execute(_ALIKE, {name: wanted[name] for name in _KIND}).all()


def _unheld(alike: Sequence[Any], held: Collection[str]) -> list[Any]:
    """Return those that the conversation neither holds nor was asked about."""
    settled = {row.earlier for row in alike if row.call_id in held}.union(held)
    return [row for row in alike if _runs(row) and row.call_id not in settled]


def _runs(row: Any) -> int:
    """Return how often a call was begun itself."""
    return int(row.attempts) - (row.earlier is not None)


def _as_begun(before: Any) -> dict[str, Any]:
    first = before.earlier or before.call_id
    begun = {"owner": before.owner or "", "started_at": before.started_at, "earlier": first}
    return {**_BEGUN_BY_NOBODY, **begun, "attempts": 1}


def ask(connection: Connection, rows: Sequence[Mapping[str, Any]], expires_at: float | None) -> float | None:
    """Let planned calls wait for a person, unless asked before.

    Returns:
        When the first of those that wait expires; None: none does.
    """
    ends = []
    for wanted in rows:
        add(connection, {**wanted, "status": "planned"})
        row = locked(connection, wanted)
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
        lost = is_lost(connection, row, now)
        if row.status in _UNBEGUN or (lost and row.effect == "read"):
            ended = {name: wanted[name] for name in ("status", "text", "untrusted")}
            change_row(connection, row, **ended)
        elif lost:
            change_row(connection, row, status="unknown", text=_text_of_lost(row))
        found |= outcomes(connection, wanted["user"], wanted["thread"], [wanted["call_id"]])
    return found


def _text_of_lost(row: Any) -> str:
    if row.started_at is None:
        return _NO_RECORD
    return _BEGUN_BEFORE.format(when=moment(row.started_at)) if earlier_of(row) else _UNKNOWN


def row_or_lost(connection: Connection, wanted: Mapping[str, Any], *, agreed: bool) -> Any:
    """Return a call's row, locked; a missing record as one lost.

    `wanted` is the row as it would be entered. `agreed`: the conversation says that the call was agreed to or
    begun; a ledger that knows no more than the question is older than that.
    """
    row = locked(connection, wanted)
    if row is not None and not (agreed and row.status in {"planned", "waiting"} and row.shown is None):
        return row
    if row is None:
        add(connection, {**wanted, "status": "planned", "text": None})
        row = locked(connection, wanted)
    lose(connection, row, 1, fingerprint=wanted["fingerprint"], args=wanted["args"])
    return locked(connection, wanted)


def recall(connection: Connection, rows: Iterable[Mapping[str, Any]]) -> None:
    """Enter missing records with their outcome, or as lost."""
    for row in rows:
        if row["status"] in FINAL:
            add(connection, {**row, "attempts": row["status"] in _BEGUN})
        else:
            row_or_lost(connection, row, agreed=False)


def lose(connection: Connection, row: Any, attempt: int, **changes: Any) -> None:
    """Record an attempt as lost that the ledger knew nothing of."""
    change_row(connection, row, **_BEGUN_BY_NOBODY, attempts=attempt, **changes)


def outcomes(connection: Connection, user: str, thread: str, call_ids: Sequence[str]) -> dict[str, Recorded]:
    """Return the outcomes on record, by call id."""
    rows = [_call(connection, CallKey(user, thread, call_id)) for call_id in call_ids]
    return {row.call_id: recorded(row) for row in rows if row is not None and row.status in FINAL}


def known(connection: Connection, filters: Mapping[str, Any]) -> set[str]:
    """Return the ids of a thread's calls."""
    return set(connection.scalars(select(calls.c.call_id).where(*matching(calls, filters))))


def still_open(connection: Connection, filters: Mapping[str, Any], now: float) -> list[OpenCall]:
    """Return a thread's calls that wait, run or are lost, in order."""
    is_open = calls.c.status.not_in({*FINAL, "planned"})
    query = select(calls).where(*matching(calls, filters), is_open).order_by(calls.c.id)
    return [
        OpenCall(row.call_id, row.tool, "lost" if is_lost(connection, row, now) else row.status)
        for row in connection.execute(query)
    ]


def is_lost(connection: Connection, row: Any, now: float) -> bool:
    """Tell whether a row's call was begun by one who is gone."""
    return row.status == "running" and isinstance(held_by(connection, row, now), Lost)


def state_of(connection: Connection, key: CallKey, now: float) -> Recorded | Running | Lost | None:
    """Return how a call stands; None where nobody has claimed it."""
    row = _call(connection, key)
    if row is None or row.status in _UNBEGUN:
        return None
    return recorded(row) if row.status in FINAL else held_by(connection, row, now)


def recorded(row: Any) -> Recorded:
    """Return the outcome that a row holds; unmarked results are untrusted.

    Raises:
        StorageError: SQLite's columns take any type, and the result is no text.
    """
    if not isinstance(row.text, str | None):
        raise StorageError(_DAMAGED)
    is_untrusted = row.status in _RAN if row.untrusted is None else bool(row.untrusted)
    return Recorded(row.status, row.text or "", is_untrusted)


def held_by(connection: Connection, row: Any, now: float) -> Running | Lost:
    """Return how a claim stands that has no outcome yet."""
    gone = row.lease_until <= now or is_gone(connection, row.owner)
    return Lost(row.started_at, row.attempts, row.earlier) if gone else Running(row.started_at)


def locked(connection: Connection, wanted: CallKey | Mapping[str, Any]) -> Any | None:
    """Return a user's call, locked in this transaction; None: absent."""
    return connection.execute(_LOCKED, _named(wanted)).one_or_none()


def earlier_of(row: Any) -> str | None:
    """Return the call begun in a row's stead; None: itself."""
    return row.earlier if row.attempts == 1 else None


def _named(wanted: CallKey | Mapping[str, Any]) -> dict[str, str]:
    return wanted._asdict() if isinstance(wanted, CallKey) else {n: wanted[n] for n in CallKey._fields}


def change_row(connection: Connection, row: Any, **values: Any) -> None:
    """Write into the row of a call."""
    connection.execute(_CHANGED, {**values, "row_id": row.id})


def _call(connection: Connection, key: CallKey) -> Any | None:
    return connection.execute(_CALL, _named(key)).one_or_none()


@cache
def _added(dialect: Dialect) -> Insert:
    return insert(dialect, calls).on_conflict_do_nothing()
