"""What a person decides about a waiting call: the first decision holds."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from ledger import remembered_rules
from ledger.calls import SUPERSEDED, change_row, locked
from ledger.records import Decision, fingerprint

CONSENT = frozenset({"approved", "edited"})
CHANGED = "The call is not the one on record under this id; what was agreed to is another tool or arguments."
_EXPIRED = "Not executed: the time to approve it had passed."


@dataclass(frozen=True, slots=True)
class Answer:
    """What a person decided, when, and about which call."""

    decision: str
    by: str
    at: float
    fingerprint: str
    """Of the call as the person was shown it."""
    text: str
    """The outcome of a rejection."""
    args: Mapping[str, Any] | None
    """Edited arguments; None where they stay."""
    stored_args: str | None
    """The same, redacted JSON."""
    attempt: int | None
    """Whose outcome nobody knows, where that was the question; see `ledger.doubts`."""
    rule: Mapping[str, Any] | None
    """Row of the rule that begins with an approval, but for the call's user and tool; None: there is none."""


def decide(connection: Connection, thread: str, call_id: str, answer: Answer) -> Decision:
    """Put the first decision on record, and return what is on record."""
    row = locked(connection, thread, call_id)
    if row is None or row.status == "planned":
        return Decision(approved=False, reason=f"No question about the call {call_id!r} is on record.")
    if row.status != "waiting":
        return on_record(row)
    if row.fingerprint != answer.fingerprint:
        return Decision(approved=False, status=row.status, fingerprint=row.fingerprint, reason=CHANGED)
    decided = {"decision": answer.decision, "decided_by": answer.by, "decided_at": answer.at}
    consequence = _consequence(row, answer)
    change_row(connection, row, **decided, **consequence)
    if answer.rule and consequence["status"] == "ready":
        remembered_rules.add(connection, {**answer.rule, "user": row.user, "tool": row.tool})
    return on_record(locked(connection, thread, call_id), won=True)


def _consequence(row: Any, answer: Answer) -> dict[str, Any]:
    if row.expires_at is not None and answer.at > row.expires_at:
        return {"status": "expired", "text": _EXPIRED}
    if answer.decision not in CONSENT:
        return {"status": "denied", "text": answer.text}
    if answer.args is None:
        return {"status": "ready"}
    return {
        "status": "ready",
        "fingerprint": fingerprint(row.tool, answer.args),
        "args": answer.stored_args,
    }


def on_record(row: Any | None, *, won: bool = False) -> Decision:
    """Return the decision that a call's row holds."""
    if row is None:
        return Decision(approved=False)
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
