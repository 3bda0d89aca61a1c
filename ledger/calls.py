"""The life of a call, as operations on its one row.

waiting ──approved──→ ready ──claimed──→ running ──finished──→ executed · failed · …
   └─ rejected, too late, superseded ───────────────────────→ denied · expired · superseded
                                           └─ owner gone, superseded → unknown
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, get_args

from sqlalchemy import Connection, Dialect, bindparam, case, delete, select, update
from sqlalchemy.sql import ClauseElement, ColumnElement

from ledger import rules
from ledger.owner import is_gone
from ledger.records import (
    Claim,
    Claimed,
    Decision,
    Lost,
    NotApproved,
    Recorded,
    Running,
    Status,
    fingerprint,
)
from ledger.statements import change, fetch
from ledger.tables import calls, insert

FINAL = frozenset(get_args(Status))
_ONE = (calls.c.thread == bindparam("thread")) & (calls.c.call_id == bindparam("call_id"))
_CALL = select(calls).where(_ONE)
_LOCKED = _CALL.with_for_update()
_CONSENT = frozenset({"approved", "edited"})
_BY_RULE = "rule"

_EXPIRED = "Not executed: the time to approve it had passed."
_SUPERSEDED = "Not executed: superseded by a newer message."
_UNKNOWN = "Outcome unknown: what ran it ended without a word, so it may or may not have happened."
_CHANGED = "The call is not the one on record under this id; what was agreed to is another tool or arguments."
_UNASKED = "No approval of this call is on record."
_RUN_OUT = (
    "Not executed: the rule that let it run unasked has run out. Call it again, and the person is asked."
)


@dataclass(frozen=True, slots=True)
class Terms:
    """On what conditions a caller claims."""

    owner: str
    now: float
    lease_s: float
    needs_approval: bool
    rerun: bool
    rule: str
    """Id of the remembered rule that lets it run unasked; empty where none is needed."""


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
    rule: Mapping[str, Any] | None
    """Row of the rule that begins with an approval, but for the call's user and tool; None: there is none."""


def add(connection: Connection, rows: Iterable[Mapping[str, Any]]) -> None:
    """Insert rows of calls; those that are there already are left alone."""
    for row in rows:
        change(connection, _adding(connection.dialect, frozenset(row)), {"attempts": 0, **row})


def decide(connection: Connection, thread: str, call_id: str, answer: Answer) -> Decision:
    """Put the first decision on record, and return what is on record."""
    row = _locked(connection, thread, call_id)
    if row is None:
        return Decision(approved=False, reason=f"No call {call_id!r} is on record in thread {thread!r}.")
    if row.status != "waiting":
        return _on_record(row)
    if row.fingerprint != answer.fingerprint:
        return Decision(approved=False, status=row.status, fingerprint=row.fingerprint, reason=_CHANGED)
    decided = {"decision": answer.decision, "decided_by": answer.by, "decided_at": answer.at}
    consequence = _consequence(row, answer)
    _change(connection, row, **decided, **consequence)
    if answer.rule and consequence["status"] == "ready":
        rules.add(connection, {**answer.rule, "user": row.user, "tool": row.tool})
    return _on_record(_locked(connection, thread, call_id), won=True)


def claim(connection: Connection, row: Mapping[str, Any], terms: Terms) -> Claim:
    """Take the call for its owner, or say why not."""
    if not terms.needs_approval:
        add(connection, [{**row, "status": "ready"}])
    found = _locked(connection, row["thread"], row["call_id"])
    if found is None:
        return NotApproved(_UNASKED)
    verdict = _judge(found, row["fingerprint"], terms)
    return _taken(connection, found, verdict, terms) if isinstance(verdict, Claimed) else verdict


def _taken(connection: Connection, row: Any, claimed: Claimed, terms: Terms) -> Claim:
    """Put the claim on record; one that a rule lets run is a use of the rule, counted once."""
    consent: dict[str, Any] = {}
    if terms.rule and row.decision is None:
        if not rules.use(connection, terms.rule, row.user, terms.now):
            _change(connection, row, status="denied", text=_RUN_OUT)
            return Recorded("denied", _RUN_OUT)
        consent = {"decision": _BY_RULE, "decided_by": terms.rule, "decided_at": terms.now}
    _change(
        connection,
        row,
        status="running",
        owner=terms.owner,
        lease_until=terms.now + terms.lease_s,
        attempts=claimed.attempt,
        started_at=terms.now,
        **consent,
    )
    return claimed


def release(connection: Connection, row: Mapping[str, Any], terms: Terms) -> None:
    """Undo a claim that its caller never learned of; one taken over goes back to being lost."""
    mine = _is(row["thread"], row["call_id"]) & (calls.c.owner == terms.owner)
    mine &= (calls.c.status == "running") & (calls.c.started_at == terms.now)
    first = calls.c.attempts == 1
    by_rule = calls.c.decision == _BY_RULE
    for used in connection.scalars(select(calls.c.decided_by).where(mine, first, by_rule)).all():
        rules.give_back(connection, used)
    connection.execute(delete(calls).where(mine, first, calls.c.decision.is_(None) | by_rule))
    back = case((first, "ready"), else_="running")
    connection.execute(
        update(calls).where(mine).values(status=back, attempts=calls.c.attempts - 1, lease_until=0)
    )


def finish(
    connection: Connection, thread: str, call_id: str, owner: str, outcome: Mapping[str, Any]
) -> Recorded | None:
    """Write the outcome of an owner's claim, unless there is one; return the one on record."""
    row = _locked(connection, thread, call_id)
    if row is not None and row.owner == owner and row.status == "running":
        _change(connection, row, **outcome)
        return Recorded(outcome["status"], outcome["text"])
    return None if row is None or row.status not in FINAL else Recorded(row.status, row.text or "")


def supersede(connection: Connection, rows: Sequence[Mapping[str, Any]], now: float) -> dict[str, Recorded]:
    """Close every call that nobody is running, and return the outcomes on record."""
    add(connection, ({**row, "status": "superseded", "text": _SUPERSEDED} for row in rows))
    found: dict[str, Recorded] = {}
    for wanted in rows:
        row = _locked(connection, wanted["thread"], wanted["call_id"])
        if row is not None and row.status in {"waiting", "ready"}:
            _change(connection, row, status="superseded", text=_SUPERSEDED)
        elif row is not None and row.status == "running" and isinstance(_held(row, now), Lost):
            _change(connection, row, status="unknown", text=_UNKNOWN)
        found |= outcomes(connection, wanted["thread"], [wanted["call_id"]])
    return found


def outcomes(connection: Connection, thread: str, call_ids: Sequence[str]) -> dict[str, Recorded]:
    """Return the outcomes on record, by call id; a call without one is left out."""
    rows = [row for call_id in call_ids for row in fetch(connection, _CALL, _key(thread, call_id))]
    return {row.call_id: Recorded(row.status, row.text or "") for row in rows if row.status in FINAL}


def known(connection: Connection, thread: str, call_ids: Sequence[str]) -> set[str]:
    """Return those of the ids that are on record."""
    query = select(calls.c.call_id).where(calls.c.thread == thread, calls.c.call_id.in_(call_ids))
    return set(connection.scalars(query))


def standing(
    connection: Connection, thread: str, call_id: str, now: float
) -> Recorded | Running | Lost | None:
    """Return how a call stands; None where nobody has claimed it."""
    found = fetch(connection, _CALL, _key(thread, call_id))
    if not found or found[0].status in {"waiting", "ready"}:
        return None
    row = found[0]
    return Recorded(row.status, row.text or "") if row.status in FINAL else _held(row, now)


def _judge(row: Any, wanted: str, terms: Terms) -> Claim:
    if row.fingerprint != wanted:
        return NotApproved(_CHANGED)
    if row.status in FINAL:
        return Recorded(row.status, row.text or "")
    if row.status == "running":
        held = _held(row, terms.now)
        if isinstance(held, Running) or not terms.rerun:
            return held
    # What was put before a person runs only with that person's yes, even if policy has changed since.
    agreed = row.decision in _CONSENT or (row.decision == _BY_RULE and row.status == "running")
    if row.status == "waiting" or (terms.needs_approval and not agreed):
        return NotApproved(_UNASKED)
    return Claimed(row.attempts + 1)


def _held(row: Any, now: float) -> Running | Lost:
    gone = row.lease_until <= now or is_gone(row.owner)
    return Lost(row.started_at) if gone else Running(row.started_at)


def _consequence(row: Any, answer: Answer) -> dict[str, Any]:
    if row.expires_at is not None and answer.at > row.expires_at:
        return {"status": "expired", "text": _EXPIRED}
    if answer.decision not in _CONSENT:
        return {"status": "denied", "text": answer.text}
    if answer.args is None:
        return {"status": "ready"}
    return {
        "status": "ready",
        "fingerprint": fingerprint(row.tool, answer.args),
        "args": answer.stored_args,
    }


def _on_record(row: Any | None, *, won: bool = False) -> Decision:
    if row is None:
        return Decision(approved=False)
    refusals = {"denied": row.text, "expired": _EXPIRED, "superseded": _SUPERSEDED}
    reason = refusals.get(
        row.status, "" if row.decision in _CONSENT else "It was not waiting for a decision."
    )
    return Decision(
        approved=not reason,
        won=won,
        status=row.status,
        fingerprint=row.fingerprint,
        by=row.decided_by,
        at=row.decided_at,
        reason=reason,
    )


def _is(thread: str, call_id: str) -> ColumnElement[bool]:
    return (calls.c.thread == thread) & (calls.c.call_id == call_id)


def _key(thread: str, call_id: str) -> dict[str, str]:
    return {"thread": thread, "call_id": call_id}


def _locked(connection: Connection, thread: str, call_id: str) -> Any | None:
    found = fetch(connection, _LOCKED, _key(thread, call_id))
    return found[0] if found else None


def _change(connection: Connection, row: Any, **values: Any) -> None:
    change(connection, _changing(frozenset(values)), {**values, "row_id": row.id})


@cache
def _adding(dialect: Dialect, names: frozenset[str]) -> ClauseElement:
    named: dict[str, Any] = {name: bindparam(name) for name in sorted(names | {"attempts"})}
    return insert(dialect, calls).values(named).on_conflict_do_nothing()


@cache
def _changing(names: frozenset[str]) -> ClauseElement:
    named: dict[str, Any] = {name: bindparam(name) for name in sorted(names)}
    return update(calls).where(calls.c.id == bindparam("row_id")).values(named)
