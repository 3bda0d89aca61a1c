"""The tools for schedules: have something done, or be reminded, in time."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from hashlib import sha256
from typing import Annotated

from base.errors import RequestError
from base.texts import is_blank, visible
from base.worker_threads import in_thread
from schedules.recurrence import clock
from schedules.schedules import ID_LENGTH, Schedule, Schedules, check_removable, title_of
from schedules.times import is_relative, recurrence_of, skipped_by_clocks, words_for
from tools.declaration import Here, ToolFailure, Untrusted, tool

_LONGEST_TASK = 4_000
"""Characters of a task."""
_SHOWN_TIMES = 3
"""Due times that the person who is asked sees."""
_MOST_SCHEDULES = 200
_ON_THE_CLOCK = "Give the time on the clock, such as 18:00 or 2026-12-01 07:00: it is {now} now."
_WHEN = "07:00, or 2026-12-01 07:00; with `every` the first time"


def _planned(  # noqa: PLR0913, PLR0917 (what a model can say of it)
    here: Here, task: str, at: str, every: str, rule: str, remind: bool
) -> Schedule:
    if is_blank(task) or len(task) > _LONGEST_TASK:
        raise ToolFailure(f"Say what is to be done, in at most {_LONGEST_TASK:,} characters.")
    zone, now = here.settings.zone(here.user).key, _schedules(here).now()
    if is_relative(at):  # by when it is approved, another time would be meant
        raise ToolFailure(_ON_THE_CLOCK.format(now=clock(now, zone)))
    try:
        recurrence = recurrence_of(now, zone, at=at, every=every, rule=rule)
    except RequestError as error:
        raise ToolFailure(str(error)) from None
    ident = sha256(here.idempotency_key.encode()).hexdigest()[:ID_LENGTH]
    planned = Schedule(ident, here.user, title_of(task), task, recurrence, now)
    return replace(planned, is_reminder=remind, untrusted=here.tainted)


def _preview(  # noqa: PLR0913, PLR0917 (in a thread: a rule takes its time)
    here: Here, task: str, at: str = "", every: str = "", rule: str = "", remind: bool = False
) -> str | None:
    try:
        planned = _planned(here, task, at, every, rule, remind)
    except ToolFailure:
        return None
    what = "Remind you, in these words" if remind else "Ask the assistant, while nobody watches"
    times = planned.recurrence.times_after(planned.created_at)
    dues = [clock(due, planned.recurrence.zone) for due, _ in zip(times, range(_SHOWN_TIMES), strict=False)]
    from_now_on = every and not at  # counted from when it is agreed to: each look would find another time
    when = "" if from_now_on else f": {', '.join(dues)}{', …' if len(dues) == _SHOWN_TIMES else ''}"
    often = words_for(planned.recurrence)
    lines = [f"| {visible(line)}" for line in task.splitlines() if not is_blank(line)]
    skipped = [said] if (said := skipped_by_clocks(at, planned.recurrence)) else []
    return "\n".join([f"{often[:1].upper()}{often[1:]}{when}", *skipped, f"{what}:", *lines])


async def _check_plan(  # noqa: PLR0913, PLR0917
    here: Here, task: str, at: str = "", every: str = "", rule: str = "", remind: bool = False
) -> Schedule:
    planned = await in_thread(partial(_planned, here, task, at, every, rule, remind))
    others = [each for each in await _schedules(here).find(user=here.user) if each.id != planned.id]
    if len(others) >= _MOST_SCHEDULES:
        raise ToolFailure(f"There are {_MOST_SCHEDULES} schedules already: cancel some first.")
    return planned


@tool(effect="write", objection=_check_plan, preview=_preview, idempotent=True)
async def schedule_task(  # noqa: PLR0913, PLR0917
    here: Here,
    task: Annotated[str, "the task, complete in itself, or the reminder's words"],
    at: Annotated[str, _WHEN] = "",
    every: Annotated[str, "90m, 2h, 1d, 1w"] = "",
    rule: Annotated[str, "RRULE, such as FREQ=WEEKLY;BYDAY=MO;BYHOUR=7"] = "",
    remind: Annotated[bool, "only say the words then"] = False,
) -> str:
    """Plan a task or a reminder for later, once or again and again."""
    planned = await _check_plan(here, task, at, every, rule, remind)
    await _schedules(here).add(planned)
    due = planned.recurrence.after(planned.created_at)
    told = f"Planned as [{planned.id}], next on {clock(due or 0, planned.recurrence.zone)}: {visible(task)}"
    return _marked(told, [planned])


@tool(effect="read")
async def list_schedules(here: Here) -> str:
    """List what is planned for the person, each with its id."""
    found = await _schedules(here).find(user=here.user)
    zone = here.settings.zone(here.user).key
    lines = []
    for each in found:
        due = f", next {said}" if (said := each.next_in(zone)) else ""
        state = "" if each.status == "active" else f" ({each.status})"
        kind = "reminder" if each.is_reminder else "task"
        lines.append(
            f"[{each.id}] {kind}, {words_for(each.recurrence, zone)}{due}{state}: {visible(each.task)}"
        )
    return _marked("\n".join(lines) or "Nothing is planned.", found)


async def _preview_cancel(here: Here, id: str) -> str | None:  # noqa: A002 (the argument that a model fills in)
    found = await _schedules(here).find(id=id, user=here.user)
    return f"No longer, from now on: {visible(found[0].task)}" if found else None


async def _is_gone(here: Here, id: str) -> bool | None:  # noqa: A002
    return None if await _schedules(here).find(id=id, user=here.user) else True


async def _check_cancel(here: Here, id: str) -> Schedule:  # noqa: A002
    found = await _schedules(here).find(id=id, user=here.user)
    if not found:
        raise ToolFailure(f"There is no schedule {id!r}; list_schedules shows the ids of those there are.")
    try:
        check_removable(here.settings, found[0])
    except RequestError as error:
        raise ToolFailure(str(error)) from None
    return found[0]


@tool(effect="write", objection=_check_cancel, preview=_preview_cancel, verify=_is_gone)
async def cancel_schedule(here: Here, id: Annotated[str, "as list_schedules shows it"]) -> str:  # noqa: A002
    """Cancel something that is planned."""
    found = await _check_cancel(here, id)
    await _schedules(here).remove(id, here.user, here.settings)
    return _marked(f"Cancelled: {visible(found.task)}", [found])


def _marked(told: str, schedules: Sequence[Schedule]) -> str:
    """Return what is told of schedules, untrusted where one of them is."""
    return Untrusted(told) if any(each.untrusted for each in schedules) else told


def _schedules(here: Here) -> Schedules:
    if here.schedules is None:
        raise ToolFailure("Nothing can be planned here: there is no ledger.")
    return here.schedules


TOOLS = (schedule_task, list_schedules, cancel_schedule)
