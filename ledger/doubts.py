"""Whether a call happened that was begun and has no outcome: a person decides, once for each attempt.

A yes is a yes to one more attempt; it is bound to the attempt that was asked about, so that it is spent by
the next one. A no counts the call as done: it stays unknown, and never runs again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, select, update

from ledger.calls import FINAL, change_row, held_by, locked, lose
from ledger.decisions import CHANGED, CONSENT, Answer, on_record
from ledger.records import Decision, Lost, Running
from ledger.tables import doubts, insert

_RERUN, _COUNTED = "rerun", "counted"
_COUNTED_AS_DONE = (
    "Unknown whether this happened: no outcome of it is on record. It was not run again: {by} decided on "
    "{when} to count it as done."
)
_TOO_LATE = (
    "Unknown whether this happened: no outcome of it is on record. It was not run again: the time to approve "
    "that had passed."
)


def ask(
    connection: Connection, rows: Sequence[Mapping[str, Any]], expires_at: float | None, now: float
) -> dict[str, Lost]:
    """Put those of the calls before a person that nobody knows the outcome of, and return them by call id.

    What was asked before is left as it is.
    """
    lost: dict[str, Lost] = {}
    for wanted in rows:
        row = locked(connection, wanted["thread"], wanted["call_id"])
        if row is None or row.status != "running":
            continue
        held = held_by(row, now)
        if isinstance(held, Lost):
            asked = {"asked_at": now, "expires_at": expires_at, **_key(row, held.attempt)}
            connection.execute(insert(connection.dialect, doubts).values(asked).on_conflict_do_nothing())
            on_record = _asked(connection, row, held.attempt)
            lost[row.call_id] = replace(held, expires_at=on_record.expires_at if on_record else None)
    return lost


def decide(connection: Connection, thread: str, call_id: str, answer: Answer) -> Decision:
    """Put on record what a person decided about the answer's attempt: the first decision holds.

    Where the ledger has forgotten that it was asked, nothing is decided, and the attempt in doubt as before.
    """
    row = locked(connection, thread, call_id)
    asked = None if row is None else _asked(connection, row, answer.attempt)
    if row is None or asked is None:
        if row is not None and not _is_settled(row, answer.at):
            lose(connection, row, answer.attempt or 1)
        return Decision(approved=False, reason=f"Nobody was asked whether to run {call_id!r} again.")
    if row.fingerprint != answer.fingerprint:
        return Decision(approved=False, status=row.status, fingerprint=row.fingerprint, reason=CHANGED)
    if row.status != "running" or row.attempts != answer.attempt:
        return on_record(row)  # something else has settled it meanwhile
    if asked.decision:
        return Decision(approved=True, status=row.status, by=asked.decided_by, at=asked.decided_at)
    return _first(connection, row, asked, answer)


def is_rerun_agreed(connection: Connection, row: Any) -> bool:
    """Tell whether a person said to run a call again after its last attempt."""
    asked = _asked(connection, row, row.attempts)
    return asked is not None and asked.decision == _RERUN


def _is_settled(row: Any, now: float) -> bool:
    """Tell whether a call has ended, or a living owner runs it."""
    return row.status in FINAL or (row.status == "running" and isinstance(held_by(row, now), Running))


def _first(connection: Connection, row: Any, asked: Any, answer: Answer) -> Decision:
    again = answer.decision in CONSENT
    text = ""
    if not again:
        when = datetime.fromtimestamp(answer.at, UTC).strftime("%Y-%m-%d at %H:%M UTC")
        text = _COUNTED_AS_DONE.format(by=answer.by, when=when)
    elif asked.expires_at is not None and answer.at > asked.expires_at:
        text = _TOO_LATE
    told = {"decided_by": answer.by, "decided_at": answer.at}
    decision = _COUNTED if not again else "expired" if text else _RERUN
    connection.execute(update(doubts).where(doubts.c.id == asked.id).values(decision=decision, **told))
    if text:
        change_row(connection, row, status="unknown", text=text)
    status = "unknown" if text else row.status
    return Decision(not text, won=True, status=status, by=answer.by, at=answer.at, reason=text)


def _asked(connection: Connection, row: Any, attempt: int | None) -> Any | None:
    asked = [doubts.c[name] == value for name, value in _key(row, attempt).items()]
    return connection.execute(select(doubts).where(*asked)).one_or_none()


def _key(row: Any, attempt: int | None) -> dict[str, Any]:
    return {"thread": row.thread, "call_id": row.call_id, "attempt": attempt}
