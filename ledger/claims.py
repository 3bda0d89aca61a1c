"""Who runs a call: of all who claim it, one."""

from collections.abc import Mapping
from typing import Any, NamedTuple, NotRequired, TypedDict

from sqlalchemy import Connection

from ledger import remembered_rules
from ledger.calls import FINAL, change_row, doubted_since, held_by, locked, recorded, row_or_lost
from ledger.decisions import CHANGED, CONSENT, is_rerun_agreed, take_back
from ledger.owner import is_certainly_gone
from ledger.records import CallKey, Changed, Claim, Claimed, Lost, NotApproved, Recorded, Running
from ledger.remembered_rules import BY_RULE

_UNASKED = "No approval of this call is on record."
_ANOTHER_TURNS = (
    "Outcome unknown: under its id the ledger holds a call of another turn, so this is not the ledger that "
    "the conversation was held with."
)
_RUN_OUT = (
    "Not executed: the rule that let it run unasked has run out. Call it again, and the person is asked."
)


class Claimant(NamedTuple):
    """Who claims, and when."""

    owner: str
    now: float


class Terms(TypedDict):
    """On what conditions a caller claims."""

    lease_s: float
    """Seconds after which a claim without an outcome counts as lost."""
    needs_approval: bool
    """It runs only if its approval is on record."""
    rerun: bool
    """Take over a lost claim of what has not changed: running twice does no harm."""
    undone: NotRequired[int]
    """Take over this attempt, if lost: the world says that it did not happen, and never will."""
    rule: NotRequired[str]
    """Id of the remembered rule that lets it run unasked; a use is counted. Empty where none is needed."""
    shown: NotRequired[str | None]
    """Hash of tool and effect as they are now: a yes is to what was shown. None: nobody was asked."""
    recorded: NotRequired[bool]
    """The conversation says that it was agreed to or begun."""


def claim(
    connection: Connection, wanted: Mapping[str, Any], claimant: Claimant, terms: Terms, was: dict[str, Any]
) -> Claim:
    """Take the call for its owner, or say why not.

    `wanted` is its row as it would be entered; `was` gets the row as it was before, for `release`.
    """
    row = row_or_lost(connection, wanted, agreed=terms.get("recorded", False))
    if row.turn != wanted["turn"]:
        return Recorded("unknown", _ANOTHER_TURNS)
    if row.status != "waiting" and row.fingerprint == wanted["fingerprint"]:
        row = doubted_since(connection, row)
    verdict = _judge(connection, row, wanted["fingerprint"], claimant, terms)
    if isinstance(verdict, Changed):
        take_back(connection, row)
    if not isinstance(verdict, Claimed):
        return verdict
    was.update(row._asdict())
    return _taken(connection, row, verdict, claimant, terms)


def _taken(connection: Connection, row: Any, claimed: Claimed, claimant: Claimant, terms: Terms) -> Claim:
    """Record the claim; one that a rule allows uses the rule."""
    owner, now = claimant
    consent: dict[str, Any] = {}
    if (rule := terms.get("rule")) and row.decision is None and not is_rerun_agreed(connection, row):
        if not remembered_rules.use(connection, rule, row.user, now):
            change_row(connection, row, status="denied", text=_RUN_OUT)
            return Recorded("denied", _RUN_OUT)
        consent = {"decision": BY_RULE, "decided_by": rule, "decided_at": now}
    lease = {"owner": owner, "lease_until": now + terms["lease_s"], "started_at": now}
    change_row(connection, row, status="running", attempts=claimed.attempt, **lease, **consent)
    return claimed


def release(connection: Connection, was: Mapping[str, Any], claimant: Claimant) -> None:
    """Undo a claim that its caller never learned of."""
    row = locked(connection, was) if was else None
    claimed = (*claimant, was["attempts"] + 1) if was else None
    if row is None or row.status != "running" or (row.owner, row.started_at, row.attempts) != claimed:
        return
    if row.decision == BY_RULE and not was["decision"]:
        remembered_rules.give_back(connection, row.decided_by, row.user)
    change_row(connection, row, **was)


def abandon(connection: Connection, key: CallKey, owner: str, attempt: int) -> None:
    """Let an owner's claim lapse, unless the call was claimed anew since."""
    row = locked(connection, key)
    if row is not None and row.status == "running" and (row.owner, row.attempts) == (owner, attempt):
        change_row(connection, row, lease_until=0)


def finish(  # noqa: PLR0913, PLR0917 (one outcome, whole)
    connection: Connection,
    key: CallKey,
    owner: str | None,
    outcome: Mapping[str, Any],
    attempt: int,
    now: float,
) -> Recorded | None:
    """Record an attempt's outcome; return the one on record.

    `owner` None: whoever it was, it is gone. An attempt that ends after its call was claimed anew, even by
    its own process, says nothing of the new one.
    """
    row = locked(connection, key)
    if row is not None and row.status == "running" and row.attempts == attempt:
        mine = isinstance(held_by(connection, row, now), Lost) if owner is None else row.owner == owner
        if mine:
            change_row(connection, row, **outcome)
            return Recorded(outcome["status"], outcome["text"], outcome["untrusted"])
    return None if row is None or row.status not in FINAL else recorded(row)


def _judge(connection: Connection, row: Any, wanted: str, claimant: Claimant, terms: Terms) -> Claim:
    if row.fingerprint != wanted:
        return NotApproved(CHANGED)
    if row.status in FINAL:
        return recorded(row)
    if row.status == "running":
        return _judge_begun(connection, row, claimant, terms)
    # What was put before a person runs only with that person's yes, even if policy has changed since.
    if row.status == "waiting" or (terms["needs_approval"] and row.decision not in CONSENT):
        return NotApproved(_UNASKED) if row.shown is None else Changed()  # or its yes was taken back
    return Changed() if _has_changed(row, terms) else Claimed(row.attempts + 1, row.earlier)


def _judge_begun(connection: Connection, row: Any, claimant: Claimant, terms: Terms) -> Claim:
    """Let a claim be taken over, harmlessly or by consent."""
    held = held_by(connection, row, claimant.now)
    if isinstance(held, Running):
        return held
    # What this very process let go of may still go on in a thread of it, whatever the world says now; and so
    # may what another host's did that is not heard of any more.
    ended = row.owner != claimant.owner and (row.lease_until <= claimant.now or is_certainly_gone(row.owner))
    undone = terms.get("undone") == row.attempts and ended
    agreed = not terms["needs_approval"] or row.decision in {*CONSENT, BY_RULE}
    if (terms["rerun"] or undone) and agreed and not _has_changed(row, terms):
        return Claimed(row.attempts + 1, row.earlier)
    if not is_rerun_agreed(connection, row):
        return held
    return Changed() if _has_changed(row, terms) else Claimed(row.attempts + 1, row.earlier)


def _has_changed(row: Any, terms: Terms) -> bool:
    """Tell whether tool or effect changed since a person decided."""
    shown = terms.get("shown")
    return None not in {shown, row.shown} and shown != row.shown
