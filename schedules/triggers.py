"""What starts a turn at no time, once: a hook, a mail.

Its schedule has the kind `event`: never due by the clock, it can be paused, and pauses itself as others do.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any, Literal, NamedTuple

from sqlalchemy import ColumnElement, Connection, func, select

from ledger.ledger import Ledger
from ledger.tables import events, matching, rows_of, schedule_runs, schedules
from schedules.recurrence import Recurrence
from schedules.schedules import ID_LENGTH, UNWATCHED, Run, Schedule, row_of, title_of, trim
from storage.shared_tables import insert

_ON = "events"
_LEAST_APART_S = 1e-3
"""Between two that come at once: what is due at the same time is one due time."""
_FOLLOWED = ("title", "task", "place", "untrusted", "is_quiet", "choices")
"""What a schedule is told anew by each event: its task may have been changed since."""

_MINUTE_S = 60.0
_MOST_DUE = 100
"""Runs of a source with so many a minute that wait to be done: who sends more is told to send it again."""

Entered = Literal["entered", "known", "paused", "limited"]


@dataclass(frozen=True, slots=True)
class Event:
    """What happened; its turn is shown the text as others' file."""

    key: str
    """Which of all that its source sends: of the same key, one is acted on."""
    name: str
    """What the file is called."""
    text: str


class Limit(NamedTuple):
    """How long an event is known, and how many a minute has."""

    within_s: float | None = None
    """None: for as long as it is stored what became of it."""
    per_minute: int | None = None


class Triggers:
    """What is to be acted on; raises StorageError as the ledger does."""

    def __init__(self, ledger: Ledger) -> None:
        self._access = ledger.access
        self._ledger = ledger

    async def enter(
        self,
        schedule: Schedule,
        event: Event,
        *,
        within_s: float | None = None,
        per_minute: int | None = None,
    ) -> Entered:
        """Have a schedule done for an event, once.

        It is on disk on return. `known`: it was entered before; with `within_s`, in so many seconds. Else
        nothing is entered where it is `paused`, or `limited`: of so many in a minute, or as many wait still.
        """
        limits = Limit(within_s, per_minute)
        return await self._access.write(_ON, _enter, row_of(schedule), event, self._ledger.now(), limits)

    async def of(self, run: str) -> Event | None:
        """Return what a run is about; None: a time."""
        query = select(events).where(events.c.run == run)
        return next((Event(**_plain(row)) for row in await self._access.read(rows_of, query)), None)


def by_event(source: str, user: str, task: str, now: float, **options: Any) -> Schedule:
    """Return the schedule of a source, such as `hook github`.

    It has one for each user, whose id is longer than of what a person plans: those can be made alike.

    Args:
        source: what its person calls it; also what the id is made of.
        user: whose turns they are.
        task: what the assistant is asked, beside the event.
        now: when it was made, in Unix seconds.
        options: of `Schedule`.
    """
    ident = sha256(f"{source} {user}".encode()).hexdigest()[: 2 * ID_LENGTH]
    recurrence = Recurrence("event", source, "UTC", now)
    return Schedule(ident, user, title_of(task), task, recurrence, now, **options)


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in ("key", "name", "text")}


def _enter(connection: Connection, row: Mapping[str, Any], event: Event, now: float, limit: Limit) -> Entered:
    ident, user = row["id"], row["user"]
    fresh = insert(connection.dialect, schedules).values(**row)
    told = {name: row[name] for name in _FOLLOWED}
    connection.execute(fresh.on_conflict_do_update(index_elements=["id"], set_=told))
    status = connection.scalar(select(schedules.c.status).where(*matching(schedules, {"id": ident})))
    if status == "paused":
        return "paused"
    # What is later was entered before the clock was set back, and limits nothing now.
    its = schedule_runs.c.schedule == ident, schedule_runs.c.due_at <= now + _MINUTE_S
    last = connection.scalar(select(func.max(schedule_runs.c.due_at)).where(*its))
    due_at = max(now, (last or 0.0) + _LEAST_APART_S)
    ids = _run_ids(ident, event.key, now, limit.within_s)
    since = 0.0 if limit.within_s is None else now - limit.within_s
    if _number(connection, schedule_runs.c.id.in_(ids), schedule_runs.c.due_at > since):
        return "known"
    lately = schedule_runs.c.due_at > now - _MINUTE_S
    due = matching(schedule_runs, {"schedule": ident, "status": "due"})
    if limit.per_minute is not None and (
        _number(connection, *its, lately) >= limit.per_minute or _number(connection, *due) >= _MOST_DUE
    ):
        return "limited"
    run = ids[0]
    entered = Run(run, ident, user, due_at, "due", 0, f"{UNWATCHED}{run}", now)
    taken = insert(connection.dialect, schedule_runs).values(**asdict(entered)).on_conflict_do_nothing()
    if connection.execute(taken.returning(schedule_runs.c.id)).first() is None:
        return "known"
    connection.execute(insert(connection.dialect, events).values(run=run, **asdict(event)))
    trim(connection, ident)
    return "entered"


def _run_ids(schedule: str, key: str, now: float, within_s: float | None) -> list[str]:
    """Return the id of an event's run; then that of one before.

    Within a time it is named after the part of it that it came in.
    """
    keys = [key]
    if within_s is not None:
        part = int(now // within_s)
        keys = [f"{key} {part}", f"{key} {part - 1}"]
    return [sha256(f"{schedule} {each}".encode()).hexdigest()[:32] for each in keys]


def _number(connection: Connection, *where: ColumnElement[bool]) -> int:
    return connection.scalar(select(func.count()).select_from(schedule_runs).where(*where)) or 0
