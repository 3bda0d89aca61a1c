"""What people want done at its time, and what became of it.

Whichever of any number of processes sees first that something is due takes it: in one transaction its run is
entered and the next due time noted, so that no other finds it.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from hashlib import sha256
from itertools import islice
from typing import Any, Literal

from sqlalchemy import Connection, delete, exists, false, or_, select, update

from base.errors import RequestError
from base.settings import Settings
from base.texts import count, visible
from ledger.ledger import Ledger
from ledger.tables import events, matching, notices, rows_of, schedule_runs, schedules, threads
from ledger.threads import PAGE
from schedules.recurrence import Recurrence, clock
from schedules.sources import table_of
from storage.shared_tables import insert

ID_LENGTH = 8
_TITLE_CHARS = 60
FAILURES = 3
"""In a row, after which a schedule is paused."""
OVERDUE_S = 60.0
"""Seconds after which what was due is late."""
AHEAD_S = 30.0
"""Seconds for which a reminder is on its way before it is due: who sends it looks every few seconds."""
UNWATCHED = "schedule-"
"""How the names of threads begin whose turns come by themselves."""
_DECLARED = "A {kind} stands in twobrain.toml: take {table} out there, or `twobrain schedule pause {ident}`."
_ON = "schedules"
_AT_ONCE = 100
"""Schedules that one transaction takes up."""
_RUNS_STORED = 1_000
"""Runs of a schedule of which is known what became."""
_MOST_MISSED_COUNTED = 1_000
"""Due times that are counted one by one, of what nobody was awake for."""
_LATEST_S = 8 * 86_400.0
"""Of more, the last is looked for in so many seconds; a week's, at least, has one."""

Status = Literal["active", "paused", "ended"]
RunStatus = Literal["due", "waiting", "done", "failed", "missed", "skipped", "sent"]
Targets = Callable[[str, str], Mapping[str, bool]]
"""From a user, and the place that a schedule names, to where they are told, and whether they can be there."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """What is to be done, and when; times are Unix seconds."""

    id: str
    user: str
    title: str
    task: str
    """What the assistant is asked at that time; of a reminder, what its person reads."""
    recurrence: Recurrence
    created_at: float
    is_reminder: bool = False
    """Its text is sent as it is, and no model is asked."""
    when_missed: Literal["once", "skip"] = "once"
    """What nobody was awake for is done once, late, or not at all."""
    place: str = ""
    """Where its result goes: a messenger, `page`, the name of a variable with an apprise URL, or `nowhere`;
    empty: where its person is told of things."""
    untrusted: bool = False
    """It was planned after untrusted content: what its turns do but read asks first."""
    is_quiet: bool = False
    """An answer that there is nothing to report goes nowhere."""
    choices: Mapping[str, Any] | None = None
    """Of `nodes.context.Context`: models, limits."""
    next_at: float | None = None
    status: Status = "active"
    why: str = ""
    """It is paused."""
    failures: int = 0

    def next_in(self, zone: str) -> str:
        """Return the next due time in words; empty: none is foreseen."""
        return clock(self.next_at, zone) if self.next_at and self.status == "active" else ""


@dataclass(frozen=True, slots=True)
class Run:
    """A due time of a schedule, and what became of it."""

    id: str
    schedule: str
    user: str
    due_at: float
    status: RunStatus
    missed: int
    """Due times before it at which nobody was awake."""
    thread: str
    at: float
    """When it was taken up."""


class Schedules:
    """The schedules of all; raises StorageError as the ledger does."""

    def __init__(self, ledger: Ledger) -> None:
        self._access = ledger.access
        self._ledger = ledger

    def now(self) -> float:
        """Return the time that all who share them agree on."""
        return self._ledger.now()

    async def add(self, schedule: Schedule) -> None:
        """Keep a schedule; one of that id is replaced."""
        await self._access.write(_ON, _add, row_of(schedule))

    async def find(self, **filters: Any) -> list[Schedule]:
        """Return those of a `user` or `status`, the next due first."""
        query = select(schedules).where(*matching(schedules, filters))
        query = query.order_by(schedules.c.next_at.is_(None), schedules.c.next_at, schedules.c.id)
        return [_schedule(row) for row in await self._access.read(rows_of, query)]

    async def runs(self, schedule: str, limit: int = 100) -> list[Run]:
        """Return a schedule's last runs, the oldest first."""
        query = select(schedule_runs).where(schedule_runs.c.schedule == schedule)
        query = query.order_by(schedule_runs.c.due_at.desc()).limit(limit)
        return [Run(**row) for row in reversed(await self._access.read(rows_of, query))]

    async def pause(self, ident: str, user: str | None = None, why: str = "") -> bool:
        """Let one rest; False: there is none of the user's."""
        return await self._access.write(_ON, _pause, ident, user, why)

    async def resume(self, ident: str, user: str | None) -> bool:
        """Go on with one; False: there is none of the user's.

        What was due meanwhile is not done.
        """
        return await self._access.write(_ON, _resume, ident, user, self.now())

    async def remove(self, ident: str, user: str | None, settings: Settings) -> bool:
        """Forget one, what is unsent included; False: there is none.

        Of a hook or a rule that is declared no more, what it acted on stays known: no delivery counts twice.

        Raises:
            RequestError: twobrain.toml declares it.
        """
        for each in await self.find(id=ident, user=user):
            check_removable(settings, each)
        return await self._access.write(_ON, _remove, ident, user)

    async def enter(self, ident: str, user: str | None, targets: Targets) -> Run | None:
        """Have one done now, too; None: there is none of the user's."""
        return await self._access.write(_ON, _enter_now, ident, user, self.now(), targets)

    async def take(self, targets: Targets) -> Sequence[tuple[Run, Schedule]]:
        """Enter runs of what is due; return the reminders on their way."""
        reminders: list[tuple[Run, Schedule]] = []
        taken = _AT_ONCE
        while taken == _AT_ONCE:
            taken, found = await self._access.write(_ON, _take, self.now(), targets)
            reminders += found
        return reminders

    async def due(self) -> Sequence[tuple[Run, Schedule]]:
        """Return the runs that are to be done, the oldest first."""
        query = select(schedule_runs).where(schedule_runs.c.status == "due").order_by(schedule_runs.c.due_at)
        runs = [Run(**row) for row in await self._access.read(rows_of, query)]
        known = {each.id: each for each in await self.find()} if runs else {}
        return [(run, known[run.schedule]) for run in runs if run.schedule in known]

    async def end(self, run: Run, status: RunStatus) -> int:
        """End a run; return how many failed in a row."""
        return await self._access.write(_ON, _end, run, status)

    async def found(self, run: str) -> tuple[Run, Schedule] | None:
        """Return a run and its schedule; None: there is none."""
        query = select(schedule_runs).where(schedule_runs.c.id == run)
        for row in await self._access.read(rows_of, query):
            for schedule in await self.find(id=row["schedule"]):
                return Run(**row), schedule
        return None


def check_removable(settings: Settings, schedule: Schedule) -> None:
    """Refuse what stands in twobrain.toml; raises RequestError."""
    if table := table_of(settings, schedule.user, schedule.recurrence):
        kind = "hook" if schedule.recurrence.rule.startswith("hook ") else "rule for mail"
        raise RequestError(_DECLARED.format(kind=kind, table=visible(table), ident=schedule.id))


def title_of(task: str) -> str:
    """Return what a task is called."""
    return " ".join(task.split())[:_TITLE_CHARS]


def note_on(run: Run, schedule: Schedule) -> str:
    """Return in words what was overdue or missed; empty: nothing."""
    zone, is_overdue = schedule.recurrence.zone, run.at - run.due_at > OVERDUE_S
    due = f"It was due on {clock(run.due_at, zone)}, when nobody was awake." if is_overdue else ""
    missed = f"Missed before that: {count(run.missed, 'time')}." if run.missed else ""
    return " ".join(filter(None, (due, missed)))


def notices_in(
    places: Mapping[str, bool], key: str, row: Mapping[str, Any], now: float
) -> list[dict[str, Any]]:
    """Return a notice for each place.

    Where nobody can be told, it is resolved and was never sent.
    """
    return [
        {**row, "key": f"{key} {place}", "place": place, "resolved_at": None if can_be_told else now}
        for place, can_be_told in places.items()
    ]


def row_of(schedule: Schedule) -> dict[str, Any]:
    """Return what is stored of a schedule."""
    row = asdict(schedule)
    recurrence = row.pop("recurrence")
    next_at = schedule.next_at or schedule.recurrence.after(schedule.created_at)
    return {**row, **recurrence, "choices": json.dumps(schedule.choices or {}), "next_at": next_at}


def _schedule(row: Mapping[str, Any]) -> Schedule:
    recurrence = Recurrence(**{each.name: row[each.name] for each in fields(Recurrence)})
    plain = {each.name: row[each.name] for each in fields(Schedule) if each.name in row}
    return Schedule(**{**plain, "choices": json.loads(row["choices"])}, recurrence=recurrence)


def _add(connection: Connection, row: Mapping[str, Any]) -> None:
    fresh = insert(connection.dialect, schedules).values(**row)
    own = schedules.c.user == fresh.excluded.user
    connection.execute(fresh.on_conflict_do_update(index_elements=["id"], set_=dict(row), where=own))


def _pause(connection: Connection, ident: str, user: str | None, why: str) -> bool:
    its = matching(schedules, {"id": ident, "user": user})
    found = connection.execute(update(schedules).where(*its).values(status="paused", why=why)).rowcount
    if found:
        _withhold(connection, ident)
        _leave_undone(connection, ident)
    return bool(found)


def _leave_undone(connection: Connection, schedule: str) -> None:
    """Do nothing of what is due and not begun."""
    undone = schedule_runs.c.schedule == schedule, schedule_runs.c.status == "due"
    connection.execute(update(schedule_runs).where(*undone).values(status="skipped"))
    _forget_events(connection)


def _withhold(connection: Connection, schedule: str, *, shown: bool = False) -> None:
    """Send no reminder on its way; `shown`: leave none on the page."""
    its = select(schedule_runs.c.id).where(schedule_runs.c.schedule == schedule)
    on_page = (notices.c.place == PAGE) & notices.c.resolved_at.is_(None)
    gone = or_(notices.c.sent_at.is_(None), on_page if shown else false())
    connection.execute(delete(notices).where(notices.c.kind == "reminder", notices.c.subject.in_(its), gone))


def _resume(connection: Connection, ident: str, user: str | None, now: float) -> bool:
    its = matching(schedules, {"id": ident, "user": user})
    for row in rows_of(connection, select(schedules).where(*its)):
        next_at = _schedule(row).recurrence.after(now)
        goes_on = next_at or row["kind"] == "event"
        values = {"next_at": next_at, "failures": 0, "status": "active" if goes_on else "ended", "why": ""}
        connection.execute(update(schedules).where(*its).values(values))
        return True
    return False


def _remove(connection: Connection, ident: str, user: str | None) -> bool:
    its = matching(schedules, {"id": ident, "user": user})
    kind = connection.scalar(select(schedules.c.kind).where(*its))
    if kind is None:
        return False
    connection.execute(delete(schedules).where(*its))
    if kind == "event":
        _leave_undone(connection, ident)
    else:
        _withhold(connection, ident, shown=True)
        connection.execute(delete(schedule_runs).where(schedule_runs.c.schedule == ident))
    return True


def _forget_events(connection: Connection) -> None:
    """Leave no text of others behind that no turn will be shown."""
    due = select(schedule_runs.c.id).where(schedule_runs.c.status == "due")
    connection.execute(delete(events).where(events.c.run.not_in(due)))


def _enter_now(
    connection: Connection, ident: str, user: str | None, now: float, targets: Targets
) -> Run | None:
    for row in rows_of(
        connection, select(schedules).where(*matching(schedules, {"id": ident, "user": user}))
    ):
        return _enter(connection, _schedule(row), now, 0, now, targets)[0]
    return None


def _take(connection: Connection, now: float, targets: Targets) -> tuple[int, Sequence[tuple[Run, Schedule]]]:
    ahead = schedules.c.is_reminder & (schedules.c.next_at <= now + AHEAD_S)
    due = schedules.c.status == "active", (schedules.c.next_at <= now) | ahead
    rows = rows_of(connection, select(schedules).where(*due).order_by(schedules.c.next_at).limit(_AT_ONCE))
    reminders = []
    for schedule in map(_schedule, rows):
        run, is_new = _take_one(connection, schedule, now, targets)
        reminders += [(run, schedule)] if is_new and run.status == "sent" else []
    return len(rows), reminders


def _take_one(connection: Connection, schedule: Schedule, now: float, targets: Targets) -> tuple[Run, bool]:
    until = max(now, schedule.next_at or now)  # a reminder's, which is on its way already, is later
    due_at, missed = _latest(schedule, until)
    next_at = schedule.recurrence.after(until)
    values = {"next_at": next_at, "status": "active" if next_at else "ended"}
    connection.execute(update(schedules).where(schedules.c.id == schedule.id).values(values))
    return _enter(connection, schedule, due_at, missed, now, targets)


def _enter(  # noqa: PLR0913, PLR0917 (a due time, whole)
    connection: Connection, schedule: Schedule, due_at: float, missed: int, now: float, targets: Targets
) -> tuple[Run, bool]:
    """Enter a run for a due time; False: there was one."""
    ident = sha256(f"{schedule.id} {due_at!r}".encode()).hexdigest()[:32]
    is_missed = now - due_at > OVERDUE_S and schedule.when_missed == "skip"
    status: RunStatus = "missed" if is_missed else "sent" if schedule.is_reminder else "due"
    if status == "due" and _is_open(connection, schedule.id):
        status = "skipped"
    run = Run(ident, schedule.id, schedule.user, due_at, status, missed, f"{UNWATCHED}{ident}", now)
    entered = insert(connection.dialect, schedule_runs).values(**asdict(run)).on_conflict_do_nothing()
    is_new = connection.execute(entered.returning(schedule_runs.c.id)).first() is not None
    if is_new and status == "sent":
        row = {
            "user": run.user,
            "kind": "reminder",
            "thread": run.thread,
            "subject": run.id,
            "at": run.due_at,
        }
        for notice in notices_in(targets(schedule.user, schedule.place), f"reminder {run.id}", row, now):
            connection.execute(insert(connection.dialect, notices).values(**notice).on_conflict_do_nothing())
    trim(connection, schedule.id)
    return run, is_new


def trim(connection: Connection, schedule: str) -> None:
    """Forget a schedule's oldest runs, beyond `_RUNS_STORED`."""
    its = schedule_runs.c.schedule == schedule
    older = select(schedule_runs.c.due_at).where(its).order_by(schedule_runs.c.due_at.desc())
    last = older.offset(_RUNS_STORED).limit(1).scalar_subquery()
    gone = its, schedule_runs.c.due_at <= last, schedule_runs.c.status.not_in(("due", "waiting"))
    connection.execute(delete(schedule_runs).where(*gone))


def _latest(schedule: Schedule, until: float) -> tuple[float, int]:
    """Return the last due time, and how many were before it."""
    first = schedule.next_at if schedule.next_at is not None else until
    last, count = first, 0
    for due in islice(schedule.recurrence.times_after(first), _MOST_MISSED_COUNTED):
        if due > until:
            return last, count
        last, count = due, count + 1
    for due in schedule.recurrence.times_after(max(last, until - _LATEST_S)):
        if due > until:
            break
        last, count = due, count + 1
    return last, count


def _is_open(connection: Connection, schedule: str) -> bool:
    """Tell whether an earlier run is to be done, or waits."""
    waits = exists().where(threads.c.thread == schedule_runs.c.thread, threads.c.status == "waiting")
    is_open = (schedule_runs.c.status == "due") | ((schedule_runs.c.status == "waiting") & waits)
    query = select(schedule_runs.c.id).where(schedule_runs.c.schedule == schedule, is_open)
    return connection.execute(query.limit(1)).first() is not None


def _end(connection: Connection, run: Run, status: RunStatus) -> int:
    its = schedule_runs.c.id == run.id, schedule_runs.c.status == "due"
    if not connection.execute(update(schedule_runs).where(*its).values(status=status)).rowcount:
        return 0
    _forget_events(connection)
    failures = schedules.c.failures + 1 if status == "failed" else 0
    connection.execute(update(schedules).where(schedules.c.id == run.schedule).values(failures=failures))
    query = select(schedules.c.failures).where(schedules.c.id == run.schedule)
    return connection.scalar(query) or 0
