"""What a person decides about a call: the first decision holds.

The question is whether to run it, or, where it was begun and has no outcome, whether to run it again. Then
a yes is to one more attempt; it is bound to the attempt that was asked about, so that the next one uses it
up. A no counts the call as done: its outcome stays unknown, and it never runs again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, select, update

from base.texts import moment
from ledger import remembered_rules
from ledger.calls import FINAL, SUPERSEDED, change_row, doubted_since, earlier_of, held_by, locked, lose
from ledger.records import CallKey, Decision, Lost, Running, fingerprint
from ledger.tables import unknown_outcomes
from storage.shared_tables import insert

CONSENT = frozenset({"approved", "edited"})
CHANGED = "The call is not the one on record under this id; what was agreed to is another tool or arguments."
DENIED = "Action denied by user"
_EXPIRED = "Not executed: the time to approve it had passed."
_RERUN, _COUNTED = "rerun", "counted"
_COUNTED_AS_DONE = (
    "Unknown whether this happened: no outcome of it is on record. It was not run again: {by} decided on "
    "{when} to count it as done."
)
_RAN_BEFORE = (
    "This very call had been executed before in this turn, on {since}. It was not run again: {by} decided on "
    "{when} to count it as done."
)
_RERUN_EXPIRED = (
    "Unknown whether this happened: no outcome of it is on record. It was not run again: the time to approve "
    "that had passed."
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a person decided, when, and about which call."""

    decision: str
    by: str
    at: float
    fingerprint: str
    """Of the call as the person was shown it; another one is refused."""
    shown: str
    """Hash of what the person was shown of its tool and effect; it runs only while that is as it was."""
    text: str
    """The outcome of a rejection."""
    args: Mapping[str, Any] | None
    """Edited arguments, to which the approval is bound; None where they stay."""
    edited: str
    """The fingerprint of the edited call; empty: of the arguments as they are."""
    stored_args: str | None
    """The same, redacted JSON."""
    attempt: int | None
    """The one asked about, where nobody knows its outcome: a yes lets one more run, a no counts it as done.
    None: the question was whether to run the call at all."""
    rule: Mapping[str, Any] | None
    """Row of the rule that begins with an approval, but for the call's user and tool; None: there is none."""
    offered: Mapping[str, Any] | None = None
    """Row of the rule that was offered, likewise, with when it may be offered again."""


def decide(connection: Connection, key: CallKey, answer: Answer) -> Decision:
    """Put the first decision on record, and return what is on record."""
    row = locked(connection, key)
    if row is None or row.status == "planned":
        return Decision(approved=False, reason=f"No question about the call {key.call_id!r} is on record.")
    if row.status != "waiting":
        return _on_record(row)
    if row.fingerprint != answer.fingerprint:
        return _changed(row)
    decided = {"decision": answer.decision, "decided_by": answer.by, "decided_at": answer.at}
    decided["shown"] = answer.shown
    consequence = _consequence(row, answer)
    change_row(connection, row, **decided, **consequence)
    its = {"user": row.user, "tool": row.tool}
    if answer.rule and consequence["status"] == "ready":
        remembered_rules.add(connection, {**answer.rule, **its})
    elif answer.offered and answer.decision == "approved":
        remembered_rules.decline(connection, {**answer.offered, **its})
    return _on_record(locked(connection, key), won=True)


def take_back(connection: Connection, row: Any) -> None:
    """Undo a yes to what has changed since it was shown."""
    if row.status == "ready":
        change_row(connection, row, status="planned", decision=None, decided_by=None, decided_at=None)
    elif asked := _asked(connection, row, row.attempts):
        again = {"decision": None, "decided_by": None, "decided_at": None}
        connection.execute(update(unknown_outcomes).where(unknown_outcomes.c.id == asked.id).values(again))


def ask_again(
    connection: Connection, rows: Sequence[Mapping[str, Any]], expires_at: float | None, now: float
) -> dict[str, Lost]:
    """Ask about those calls whose outcome is unknown; return them.

    What was asked before is left as it is.
    """
    lost: dict[str, Lost] = {}
    for wanted in rows:
        row = locked(connection, wanted)
        row = None if row is None else doubted_since(connection, row)
        held = held_by(connection, row, now) if row is not None and row.status == "running" else None
        if row is not None and isinstance(held, Lost):
            question = {"asked_at": now, "expires_at": expires_at, **_key(row, held.attempt)}
            fresh = insert(connection.dialect, unknown_outcomes).values(question)
            connection.execute(fresh.on_conflict_do_nothing())
            asked = _asked(connection, row, held.attempt)
            expires = asked.expires_at if asked else None
            lost[row.call_id] = replace(held, expires_at=expires, ended=_ended(connection, row))
    return lost


def decide_again(connection: Connection, key: CallKey, answer: Answer) -> Decision:
    """Record the first decision about an unknown outcome, and return it.

    Where the ledger has no record of the question, nothing is decided, and the outcome is unknown as before.
    """
    row = locked(connection, key)
    asked = None if row is None else _asked(connection, row, answer.attempt)
    if row is None or asked is None:
        if row is not None and not _is_settled(connection, row, answer.at):
            lose(connection, row, answer.attempt or 1)
        return Decision(approved=False, reason=f"Nobody was asked whether to run {key.call_id!r} again.")
    if row.fingerprint != answer.fingerprint:
        return _changed(row)
    if row.status != "running" or row.attempts != answer.attempt:
        return _on_record(row)  # something else has settled it meanwhile
    if asked.decision:
        return Decision(approved=True, status=row.status, by=asked.decided_by, at=asked.decided_at)
    return _first(connection, row, asked, answer)


def is_rerun_agreed(connection: Connection, row: Any) -> bool:
    """Tell whether a person agreed to one more attempt."""
    asked = _asked(connection, row, row.attempts)
    return asked is not None and asked.decision == _RERUN


def _consequence(row: Any, answer: Answer) -> dict[str, Any]:
    if row.expires_at is not None and answer.at > row.expires_at:
        return {"status": "expired", "text": _EXPIRED}
    if answer.decision not in CONSENT:
        return {"status": "denied", "text": answer.text}
    if answer.args is None:
        return {"status": "ready"}
    edited = answer.edited or fingerprint(row.tool, answer.args)
    return {"status": "ready", "fingerprint": edited, "args": answer.stored_args}


def _on_record(row: Any, *, won: bool = False) -> Decision:
    refusals = {"denied": row.text, "expired": _EXPIRED, "superseded": SUPERSEDED}
    reason = refusals.get(row.status, "" if row.decision in CONSENT else "It was not waiting for a decision.")
    return Decision(
        approved=not reason,
        won=won,
        status=row.status,
        fingerprint=row.fingerprint,
        by=row.decided_by,
        at=row.decided_at,
        reason=reason,
    )


def _changed(row: Any) -> Decision:
    return Decision(approved=False, status=row.status, fingerprint=row.fingerprint, reason=CHANGED)


def _is_settled(connection: Connection, row: Any, now: float) -> bool:
    return row.status in FINAL or (
        row.status == "running" and isinstance(held_by(connection, row, now), Running)
    )


def _first(connection: Connection, row: Any, asked: Any, answer: Answer) -> Decision:
    again = answer.decision in CONSENT
    text, outcome = "", "unknown"
    if not again:
        text = _COUNTED_AS_DONE.format(by=answer.by, when=moment(answer.at))
        if row.started_at and _ended(connection, row) == "executed":
            since, outcome = moment(row.started_at), "executed"
            text = _RAN_BEFORE.format(since=since, by=answer.by, when=moment(answer.at))
    elif asked.expires_at is not None and answer.at > asked.expires_at:
        text = _RERUN_EXPIRED
    told = {"decided_by": answer.by, "decided_at": answer.at}
    decision = _COUNTED if not again else "expired" if text else _RERUN
    of_it = update(unknown_outcomes).where(unknown_outcomes.c.id == asked.id)
    connection.execute(of_it.values(decision=decision, **told))
    change_row(connection, row, shown=answer.shown, **({"status": outcome, "text": text} if text else {}))
    status = outcome if text else row.status
    return Decision(not text, won=True, status=status, by=answer.by, at=answer.at, reason=text)


def _asked(connection: Connection, row: Any, attempt: int | None) -> Any | None:
    of_it = [unknown_outcomes.c[name] == value for name, value in _key(row, attempt).items()]
    return connection.execute(select(unknown_outcomes).where(*of_it)).one_or_none()


def _ended(connection: Connection, row: Any) -> str | None:
    """Return the status of the call begun in a row's stead."""
    earlier = earlier_of(row)
    found = locked(connection, CallKey(row.user, row.thread, earlier)) if earlier else None
    return found.status if found else None


def _key(row: Any, attempt: int | None) -> dict[str, Any]:
    return {"user": row.user, "thread": row.thread, "call_id": row.call_id, "attempt": attempt}
