"""Who runs a call: of all who claim it, one."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, case, delete, select, update

from ledger import doubts, rules
from ledger.calls import FINAL, add, change_row, held_by, locked
from ledger.decisions import CHANGED, CONSENT
from ledger.records import Claim, Claimed, Lost, NotApproved, Recorded, Running
from ledger.tables import calls

_BY_RULE = "rule"
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
    """Running twice does no harm."""
    undone: int
    """Attempt that the world says did not happen, and never will; 0: none."""
    rule: str
    """Id of the remembered rule that lets it run unasked; empty where none is needed."""


def claim(connection: Connection, row: Mapping[str, Any], terms: Terms) -> Claim:
    """Take the call for its owner, or say why not."""
    if not terms.needs_approval:
        add(connection, [{**row, "status": "ready"}])
    found = locked(connection, row["thread"], row["call_id"])
    if found is None:
        return NotApproved(_UNASKED)
    verdict = _judge(connection, found, row["fingerprint"], terms)
    return _taken(connection, found, verdict, terms) if isinstance(verdict, Claimed) else verdict


def _taken(connection: Connection, row: Any, claimed: Claimed, terms: Terms) -> Claim:
    """Put the claim on record; one that a rule lets run is a use of the rule, counted once."""
    consent: dict[str, Any] = {}
    if terms.rule and row.decision is None:
        if not rules.use(connection, terms.rule, row.user, terms.now):
            change_row(connection, row, status="denied", text=_RUN_OUT)
            return Recorded("denied", _RUN_OUT)
        consent = {"decision": _BY_RULE, "decided_by": terms.rule, "decided_at": terms.now}
    change_row(
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
    mine = (calls.c.thread == row["thread"]) & (calls.c.call_id == row["call_id"])
    mine &= calls.c.owner == terms.owner
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


def abandon(connection: Connection, thread: str, call_id: str, owner: str, attempt: int) -> None:
    """Let an owner's claim lapse, unless the call was claimed anew since."""
    row = locked(connection, thread, call_id)
    if row is not None and row.status == "running" and (row.owner, row.attempts) == (owner, attempt):
        change_row(connection, row, lease_until=0)


def finish(  # noqa: PLR0913 (one outcome, whole)
    connection: Connection,
    thread: str,
    call_id: str,
    owner: str,
    outcome: Mapping[str, Any],
    *,
    attempt: int,
    lost: bool,
    now: float,
) -> Recorded | None:
    """Write the outcome of an owner's attempt, or of one that is lost; return the one on record.

    An attempt that ends after its call was claimed anew, even by its own process, says nothing of the new
    one.
    """
    row = locked(connection, thread, call_id)
    if row is not None and row.status == "running" and row.attempts == attempt:
        mine = isinstance(held_by(row, now), Lost) if lost else row.owner == owner
        if mine:
            change_row(connection, row, **outcome)
            return Recorded(outcome["status"], outcome["text"])
    return None if row is None or row.status not in FINAL else Recorded(row.status, row.text or "")


def _judge(connection: Connection, row: Any, wanted: str, terms: Terms) -> Claim:
    if row.fingerprint != wanted:
        return NotApproved(CHANGED)
    if row.status in FINAL:
        return Recorded(row.status, row.text or "")
    if row.status == "running":
        held = held_by(row, terms.now)
        return Claimed(row.attempts + 1) if _may_run_again(connection, row, held, terms) else held
    # What was put before a person runs only with that person's yes, even if policy has changed since.
    if row.status == "waiting" or (terms.needs_approval and row.decision not in CONSENT):
        return NotApproved(_UNASKED)
    return Claimed(row.attempts + 1)


def _may_run_again(connection: Connection, row: Any, held: Running | Lost, terms: Terms) -> bool:
    """Tell whether a claim can be taken over: no harm comes of it, or a person said so of this attempt."""
    if isinstance(held, Running):
        return False
    # What this very process let go of may still go on in a thread of it, whatever the world says now.
    undone = terms.undone == row.attempts and row.owner != terms.owner
    agreed = not terms.needs_approval or row.decision in {*CONSENT, _BY_RULE}
    return ((terms.rerun or undone) and agreed) or doubts.is_rerun_agreed(connection, row)
