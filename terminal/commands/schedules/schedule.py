"""`twobrain schedule`: what is to be done at its time."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import uuid4

from base.errors import RequestError
from base.settings import LOCAL, Settings
from base.texts import visible
from channels.scheduler import Scheduler
from graphs.result import Result
from graphs.session import Orchestrator
from schedules.destinations import check_place
from schedules.outcomes import outcomes
from schedules.recurrence import clock
from schedules.schedules import ID_LENGTH, Run, Schedule, Schedules, title_of
from schedules.times import recurrence_of, skipped_by_clocks, words_for
from terminal.app import Options
from terminal.commands.conversations.show import print_message
from terminal.conversation import Conversation, checked_context, exit_code
from terminal.lists import Row, list_rows, show_json
from terminal.progress import receipts
from terminal.screen import Screen, open_screen
from terminal.text import plain

_COLUMNS = ("id", "user", "title", "when", "next", "status", "last")
_CHANGED = {
    "active": "goes on",
    "paused": "is paused",
    "ended": "is over: no time to come is left of it",
    "removed": "is forgotten",
}
_NOT_OVER = "An earlier run of {ident} is not over, so it was not done. What waits for you: twobrain pending"
_NONE = 'Nothing is planned. Plan something: twobrain schedule add "what is new?" --at 07:00 --every 1d'


class Wanted(NamedTuple):
    """What a person wants done."""

    task: str
    times: Mapping[str, str | None]
    """As `schedules.times.recurrence_of` takes them."""
    options: Mapping[str, Any]
    """Of `schedules.schedules.Schedule`."""
    choices: Mapping[str, Any]
    """Of `nodes.context.Context`; None: as ever."""
    zone: str | None
    """By whose clock; None: by the person's."""


async def add(orchestrator: Orchestrator, wanted: Wanted, *, as_json: bool) -> None:
    """Plan a task or a reminder."""
    ledger, user, task = orchestrator.ledger, wanted.options["user"], wanted.task
    given = {name: value for name, value in wanted.choices.items() if value is not None}
    checked_context({**given, "user": user}, orchestrator.settings.user(user))
    if not task.strip():
        raise RequestError("Say what is to be done: twobrain schedule add TASK --at TIME.")
    most = orchestrator.settings.limits.max_message_chars
    if len(task) > most:
        raise RequestError(f"The task has {len(task):,} characters; a message has {most:,} at the most.")
    check_place(orchestrator.settings, user, wanted.options["place"])
    zone = wanted.zone or orchestrator.settings.zone(user).key
    schedule = Schedule(
        id=uuid4().hex[:ID_LENGTH],
        title=title_of(task),
        task=task,
        recurrence=recurrence_of(ledger.now(), zone, **wanted.times),
        created_at=ledger.now(),
        choices=given,
        **wanted.options,
    )
    await Schedules(ledger).add(schedule)
    [kept] = await Schedules(ledger).find(id=schedule.id)
    screen = open_screen(machine=as_json)
    if as_json:
        show_json(screen, _as_row(kept))
        return
    screen.note(
        f"Planned as {kept.id}: {words_for(kept.recurrence)}, next on {clock(kept.next_at or 0, zone)}."
    )
    if skipped := skipped_by_clocks(wanted.times["at"], kept.recurrence):
        screen.note(skipped, "yellow")


async def list_all(orchestrator: Orchestrator, *, user: str | None, as_json: bool) -> None:
    """List what is planned, the next due first."""
    schedules = Schedules(orchestrator.ledger)
    known = {each.id: each for each in await schedules.find(user=user)}
    last = {ident: await schedules.runs(ident, 1) for ident in known}
    became = await outcomes(orchestrator.ledger, [run for runs in last.values() for run in runs])
    rows = [{**_as_row(each), "last": _last(last[each.id], became)} for each in known.values()]
    list_rows(
        rows,
        _COLUMNS,
        _NONE,
        as_json=as_json,
        for_people=lambda row: _for_people(
            known[row["id"]], last[row["id"]], became, _zone(orchestrator.settings, row["user"])
        ),
    )


async def change(orchestrator: Orchestrator, ident: str, *, user: str | None, to: str, as_json: bool) -> None:
    """Pause one, go on with it, or forget it."""
    schedules = Schedules(orchestrator.ledger)
    ident = await _whole(schedules, ident, user)
    if to == "removed":
        found = await schedules.remove(ident, user, orchestrator.settings)
    elif to == "active":
        found = await schedules.resume(ident, user)
    else:
        found = await schedules.pause(ident, user)
    if not found:
        raise _unknown(ident)
    status = next((each.status for each in await schedules.find(id=ident)), to)
    screen = open_screen(machine=as_json)
    if as_json:
        show_json(screen, {"id": ident, "status": status})
    else:
        screen.note(f"{plain(ident)} {_CHANGED[status]}.")


async def run_now(orchestrator: Orchestrator, ident: str, *, user: str | None, as_json: bool) -> int:
    """Do one now, alone, and print what came of it."""
    ident = await _whole(Schedules(orchestrator.ledger), ident, user)
    found = await Scheduler(orchestrator).run_one(ident, user)
    if found is None:
        raise _unknown(ident)
    run, problem = found
    if run.status == "skipped":
        raise RequestError(_NOT_OVER.format(ident=ident))
    result = await orchestrator.result(run.thread) if await orchestrator.ledger.thread(run.thread) else None
    talk = Conversation(orchestrator, Options(json=as_json))
    if as_json:
        told = {"id": ident, "status": run.status, "why": problem, "result": result and result.to_json()}
        show_json(talk.screen, told)
    elif run.status == "sent":
        for schedule in await Schedules(orchestrator.ledger).find(id=ident):
            _print_reminder(talk.screen, schedule)
        talk.screen.note(f"{plain(ident)}: {(await outcomes(orchestrator.ledger, [run]))[run.id]}.")
    else:
        return await _report(talk, result, problem)
    return exit_code(result) if result else int(run.status == "failed")


async def _report(talk: Conversation, result: Result | None, problem: str) -> int:
    """Print what came of a run, as `twobrain ask` does."""
    if problem:
        talk.screen.note(f"It failed: {plain(problem)}", "red")
    if result is None:
        return 1
    if result.response:
        print_message(talk.screen, {"role": "assistant", "text": result.response})
    if result.receipts:
        talk.screen.side.print(receipts(result, talk.orchestrator.tools.label))
    return await talk.report(result.thread_id, talk.orchestrator.result(result.thread_id))


async def run_due(orchestrator: Orchestrator, *, as_json: bool) -> None:
    """Do what is due, once, where no server does."""
    turns, reminders = await Scheduler(orchestrator).done_now()
    screen, due = open_screen(machine=as_json), [schedule for _, schedule in reminders]
    if as_json:
        texts = [{"user": each.user, "text": each.task} for each in due]
        show_json(screen, {"done": turns + len(due), "reminders": texts})
        return
    for each in due:
        _print_reminder(screen, each)
    screen.note(f"Done: {turns + len(due)}.")


def _print_reminder(screen: Screen, schedule: Schedule) -> None:
    whose = "" if schedule.user == LOCAL else f" for {schedule.user}"
    screen.out.print(visible(plain(f"Reminder{whose}: {schedule.task}")), soft_wrap=True)


def _zone(settings: Settings, user: str) -> str:
    """Return a person's time zone; of one unknown, this machine's."""
    return settings.zone(user if user in settings.users else LOCAL).key


async def _whole(schedules: Schedules, ident: str, user: str | None) -> str:
    """Return the id that begins so; what begins several is refused."""
    known = [each.id for each in await schedules.find(user=user)]
    found = [each for each in known if each.startswith(ident)]
    if ident in known or not found or not ident:
        return ident
    if len(found) > 1:
        raise RequestError(f"{ident!r} begins several: {', '.join(found)}. Write more of it.")
    return found[0]


def _unknown(ident: str) -> RequestError:
    return RequestError(f"There is no schedule {ident!r}. `twobrain schedule list` lists those there are.")


def _as_row(schedule: Schedule) -> Row:
    due = schedule.next_at
    return {
        "id": schedule.id,
        "user": schedule.user,
        "title": schedule.title,
        "task": schedule.task,
        "is_reminder": schedule.is_reminder,
        "kind": schedule.recurrence.kind,
        "rule": schedule.recurrence.rule,
        "timezone": schedule.recurrence.zone,
        "next_at": None if due is None else datetime.fromtimestamp(due, UTC).isoformat(),
        "to": schedule.place,
        "status": schedule.status,
        "why": schedule.why,
    }


def _last(runs: Sequence[Run], became: Mapping[str, str]) -> Row | None:
    """Return a schedule's last run as a program reads it."""
    for run in runs:
        due_at = datetime.fromtimestamp(run.due_at, UTC).isoformat()
        return {"due_at": due_at, "status": run.status, "outcome": became[run.id], "thread": run.thread}
    return None


def _for_people(schedule: Schedule, runs: Sequence[Run], became: Mapping[str, str], zone: str) -> Row:
    return {
        "id": schedule.id,
        "user": schedule.user,
        "title": schedule.title,
        "when": f"{words_for(schedule.recurrence, zone)}{', a reminder' if schedule.is_reminder else ''}",
        "next": schedule.next_in(zone),
        "status": f"{schedule.status}: {schedule.why}" if schedule.why else schedule.status,
        "last": f"{clock(runs[-1].due_at, zone)}: {became[runs[-1].id]}" if runs else "",
    }
