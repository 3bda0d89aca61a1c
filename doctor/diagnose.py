"""The diagnosis of a thread in one sentence; nothing is changed."""

import asyncio
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from langgraph.types import StateSnapshot

from base.data_dir import CHECKPOINTS
from base.errors import BadThreadError, DamagedThreadError, UnknownThreadError
from base.texts import count, local_time
from doctor.damaged_rows import ThreadRows
from doctor.missing_records import WHY, find_missing
from graphs.damage import check
from graphs.result import condition_of
from graphs.session import Orchestrator
from ledger.records import OpenCall
from nodes.turn.history import open_calls

Condition = Literal["answered", "failed", "waiting", "running", "interrupted", "damaged", "elsewhere"]

_BEFORE_STEP = {
    "intake": "before it began",
    "plan": "before its next step was planned",
    "explain": "before you could be asked",
    "confirm": "before you could be asked",
    "respond": "before it was answered",
}
_ENDED_WORDS = {
    "answered": "is answered; nothing in it is open",
    "failed": "ended without an answer, because no model could give one; say something in it to go on",
}


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What there is to say of a thread."""

    thread_id: str
    condition: Condition
    sentence: str
    remedies: tuple[str, ...] = ()
    """What a repair would do, in words; empty where there is nothing to repair."""
    missing_records: bool = False
    """The ledger has no record of it, or of some of its calls."""
    in_doubt: bool = False
    """Whether nobody knows of a call that was cut short if it happened."""


async def diagnose(orchestrator: Orchestrator, thread_id: str, *, held: bool = False) -> Diagnosis:
    """Say how a thread stands.

    `held`: the caller has the thread to itself, so that no turn of it is under way.

    Raises:
        BadThreadError: no thread can have that id.
        UnknownThreadError: neither the checkpoints nor the ledger know of it.
        StorageError: one of them cannot be used.
    """
    row = await orchestrator.ledger.thread(thread_id)
    try:
        snapshot = await orchestrator.snapshot(thread_id)
        check(thread_id, snapshot)
    except (UnknownThreadError, BadThreadError):  # a plain graph's threads have ids of its own
        if row is None:
            raise
        return _told(thread_id, "elsewhere", "is not kept here: a server holds it, or it was deleted")
    except DamagedThreadError as error:
        remedy = "go back to the last step that can be read"
        found = Diagnosis(thread_id, "damaged", f"{str(error).split('. `')[0]}.", (remedy,))
        return await _damaged(orchestrator, thread_id) or found
    if not held and await orchestrator.turns.is_held(thread_id):
        return _told(thread_id, "running", "is at work now")
    if damaged := await _damaged(orchestrator, thread_id):  # in what a turn would not have needed, too
        return damaged
    missing = await find_missing(orchestrator, snapshot, row)
    if snapshot.interrupts:
        found = await _waiting(orchestrator, snapshot, thread_id, row)
    elif snapshot.tasks:
        opened = await orchestrator.ledger.open_calls(thread_id)
        found = _interrupted(thread_id, snapshot, opened, missing or ())
    else:
        found = _ended(thread_id, snapshot, row)
    return found if missing is None else _with_missing(found, row, missing)


def rows_of(orchestrator: Orchestrator, thread_id: str) -> ThreadRows | None:
    """Return a thread's rows; None: Postgres sees to them itself."""
    if orchestrator.settings.database_url:
        return None
    return ThreadRows(orchestrator.settings.data_dir / CHECKPOINTS, thread_id)


async def _damaged(orchestrator: Orchestrator, thread_id: str) -> Diagnosis | None:
    rows = rows_of(orchestrator, thread_id)
    damaged = await asyncio.to_thread(rows.damaged) if rows else []
    if not damaged:
        return None
    what = f"{count(len(damaged), 'row')} of it cannot be read ({damaged[-1].why})"
    remedy = "take out what cannot be read, and keep it in damaged.db"
    return _told(thread_id, "damaged", f"is damaged: {what}", remedy)


def _with_missing(found: Diagnosis, row: dict[str, Any] | None, missing: Sequence[Any]) -> Diagnosis:
    calls = f"{count(len(missing), 'call')} of it"
    what = calls if row else f"it, nor of {calls}" if missing else "it"
    said = f"{found.sentence} The ledger has no record of {what}: {WHY}."
    noted = (
        "note in the ledger what the conversation tells, where no newer copy of the ledger can be put back"
    )
    return replace(found, sentence=said, remedies=(*found.remedies, noted), missing_records=True)


async def _waiting(
    orchestrator: Orchestrator, snapshot: StateSnapshot, thread_id: str, row: dict[str, Any] | None
) -> Diagnosis:
    request = (await orchestrator.result(thread_id)).pending or {}
    names = ", ".join(action["name"] for action in request.get("action_requests", []))
    zone = orchestrator.settings.zone("local")
    since = f" since {local_time(row['waiting_since'], zone)}" if row and row["waiting_since"] else ""
    remedies = _noted(snapshot, row)
    rows = rows_of(orchestrator, thread_id)
    answers = await asyncio.to_thread(rows.answers) if rows else 0
    if answers:
        remedies = ("take back an answer that was given and never taken up, and ask again", *remedies)
    name = shlex.quote(thread_id)
    way = f"answer with: twobrain approve {name}, or: twobrain reject {name}"
    return _told(thread_id, "waiting", f"waits{since} for your yes or no to {names}; {way}", *remedies)


def _interrupted(
    thread_id: str, snapshot: StateSnapshot, opened: Sequence[OpenCall], unknown: Sequence[Any]
) -> Diagnosis:
    unanswered = {call["id"] for call in open_calls(snapshot.values.get("messages", []))}
    lost = [call.tool for call in opened if call.state == "lost"]
    lost += [call["name"] for call in unknown if call["id"] in unanswered]
    if lost:
        where = f"while {', '.join(lost)} ran, and nobody knows whether that happened"
    else:
        where = _BEFORE_STEP.get(snapshot.next[0] if snapshot.next else "", "between two steps")
    way = f"go on with: twobrain resume {shlex.quote(thread_id)}"
    said = _told(thread_id, "interrupted", f"was cut short {where}; {way}")
    return replace(said, in_doubt=bool(lost))


def _ended(thread_id: str, snapshot: StateSnapshot, row: dict[str, Any] | None) -> Diagnosis:
    condition = condition_of(snapshot)
    left = open_calls(snapshot.values.get("messages", []))
    if not left:
        return _told(thread_id, condition, _ENDED_WORDS[condition], *_noted(snapshot, row))
    said = f"ended, but {count(len(left), 'call')} of it has no result"
    closed = "give each the outcome that the ledger has, or say that it did not run"
    return _told(thread_id, "damaged", said, closed, *_noted(snapshot, row))


def _noted(snapshot: StateSnapshot, row: dict[str, Any] | None) -> tuple[str, ...]:
    """Return the remedy for a ledger that says otherwise than the state."""
    condition = condition_of(snapshot)
    return (f"note in the ledger that it is {condition}",) if row and row["status"] != condition else ()


def _told(thread_id: str, condition: Condition, words: str, *remedies: str) -> Diagnosis:
    return Diagnosis(thread_id, condition, f"Thread {thread_id!r} {words}.", remedies)
