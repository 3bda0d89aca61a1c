"""The undo log: what calls changed, as it was before.

A call's record is stored before it takes effect; where a call was made anew, under the id of the one that was
begun first. It goes with its conversation, and with its person's hundredth call since.

An undo is a call of its own, `undo-1-ID` on the thread of the call that it undoes; one that failed or was
denied may be tried once more, as `undo-2-ID`.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

from sqlalchemy import Connection, and_, delete, func, or_, select

from ledger.calls import is_lost
from ledger.ledger import Ledger
from ledger.records import CallKey
from ledger.tables import calls, parsed, undo_log
from storage.shared_tables import insert

UNDO = "undo"
"""The tool that a call which undoes another bears in the ledger."""
MOST_RECORDS = 100
"""Calls of a person that can be undone, the newest."""
_MOST_LISTED = 30
_DIGITS = 15
"""Of a number that every column has room for."""
_WITHOUT_EFFECT = frozenset({"failed", "denied", "expired", "superseded"})


@dataclass(frozen=True, slots=True)
class Undoable:
    """A call, and what is on record of undoing it."""

    number: int | None
    """By which a person names it; None: there is no record of it."""
    call: CallKey
    tool: str
    args: Any
    status: str
    """`lost`: it was begun, and nobody knows how it ended."""
    at: float | None
    """Seconds since the epoch, when it was begun; None: it was not."""
    record: dict[str, Any] | None
    """What its tool logged; None: nothing, or it is not there any more."""
    undo_id: str
    """Of the call that undoes it."""
    undo_status: str | None
    """How that stands; None: it was not made."""


class UndoLog:
    """The undo log, in the ledger's database."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def put(self, key: CallKey, record: Mapping[str, Any], *, first: bool) -> None:
        """Store what undoes a call; `first`: unless something is there."""
        data = json.dumps(record).encode()
        await self._ledger.access.write(
            f"thread {key.thread}", _put, key, data, self._ledger.now(), first=first
        )

    async def find(
        self, users: Collection[str], named: str | None = None, thread: str | None = None
    ) -> list[Undoable]:
        """Return calls of some users, the newest first.

        `named` is a call's id or number; None: the last that have a record.
        """
        return await self._ledger.access.read(_found, users, named, thread, self._ledger.now())


def _put(connection: Connection, key: CallKey, record: bytes, now: float, *, first: bool) -> None:
    row = insert(connection.dialect, undo_log).values(**key._asdict(), record=record, at=now)
    if first:
        connection.execute(row.on_conflict_do_nothing())
    else:
        changes = {"record": row.excluded.record, "at": row.excluded.at}
        connection.execute(
            row.on_conflict_do_update(index_elements=["thread", "call_id", "user"], set_=changes)
        )
    mine = undo_log.c.user == key.user
    newest = select(undo_log.c.id).where(mine).order_by(undo_log.c.id.desc())
    older = undo_log.c.id <= newest.offset(MOST_RECORDS).limit(1).scalar_subquery()
    connection.execute(delete(undo_log).where(mine, older))


def _found(
    connection: Connection, users: Collection[str], named: str | None, thread: str | None, now: float
) -> list[Undoable]:
    first = func.coalesce(calls.c.earlier, calls.c.call_id)
    same = [undo_log.c[name] == calls.c[name] for name in ("thread", "user")]
    both = calls.outerjoin(undo_log, and_(undo_log.c.call_id == first, *same))
    columns = (calls, undo_log.c.id.label("number"), undo_log.c.record)
    query = select(*columns).select_from(both).where(calls.c.user.in_(users))
    if thread is not None:
        query = query.where(calls.c.thread == thread)
    if named is None:
        query = query.where(undo_log.c.id.is_not(None)).limit(_MOST_LISTED)
    else:
        is_number = named.isascii() and named.isdecimal() and len(named) <= _DIGITS
        query = query.where(or_(calls.c.call_id == named, undo_log.c.id == (int(named) if is_number else 0)))
    rows = connection.execute(query.order_by(undo_log.c.id.desc(), calls.c.id.desc())).all()
    return [_undoable(connection, row, now) for row in rows]


def _undoable(connection: Connection, row: Any, now: float) -> Undoable:
    record = None if row.record is None else parsed(row.record)
    undo_id, undo_status = _latest_undo(connection, row, now)
    return Undoable(
        row.number,
        CallKey(row.user, row.thread, row.call_id),
        row.tool,
        parsed(row.args),
        "lost" if is_lost(connection, row, now) else row.status,
        row.started_at,
        record if isinstance(record, dict) else None,
        undo_id,
        undo_status,
    )


def _latest_undo(connection: Connection, row: Any, now: float) -> tuple[str, str | None]:
    for number in count(1):
        call_id = f"undo-{number}-{row.earlier or row.call_id}"
        mine = {"user": row.user, "thread": row.thread, "call_id": call_id}
        query = select(calls).where(*(calls.c[name] == value for name, value in mine.items()))
        undo = connection.execute(query).one_or_none()
        if undo is None:
            return call_id, None
        if (undo.tool, undo.turn) == (UNDO, call_id) and undo.status not in _WITHOUT_EFFECT:
            return call_id, "lost" if is_lost(connection, undo, now) else undo.status
    raise AssertionError
