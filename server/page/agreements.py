"""What was agreed to, remembered and planned: rules, pins, memories, schedules."""

import time
from collections.abc import Mapping
from typing import Any, Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict

from base.errors import UnknownRuleError
from base.settings import Settings
from base.texts import count
from schedules.outcomes import outcomes
from schedules.recurrence import clock
from schedules.schedules import Run, Schedule, Schedules
from schedules.sources import table_of
from schedules.times import words_for
from server.page.page import Json, Opened, Page
from server.page.sign_in import PageError, PageRoute, Who
from tools.declaration import ToolFailure
from tools.memory import memory_rows, place_of, write_memory
from tools.policy.rules import why_not

router = APIRouter(route_class=PageRoute)


class Memory(BaseModel):
    """What is to be remembered instead."""

    model_config = ConfigDict(extra="forbid")

    text: str


class ScheduleChange(BaseModel):
    """Whether a schedule is to rest."""

    model_config = ConfigDict(extra="forbid")

    status: Literal["active", "paused"]


@router.get("/rules")
async def rules(who: Who, page: Opened) -> Response:
    """List the remembered rules, and whether each holds."""
    found = await page.res.ledger.rules(user=None if who.is_admin else who.user)
    tools = await page.orchestrator.all_tools() if found else page.orchestrator.tools
    told = []
    for rule in found:
        tool = tools.get(rule["tool"])
        problem = why_not(rule, tool.definition if tool else None, time.time())
        zone = str(page.res.settings.zone(who.user))
        told.append({**rule, "holds": problem is None, "why_not": problem, **_in_words(rule, problem, zone)})
    return Json(told)


def _in_words(rule: Mapping[str, Any], problem: str | None, zone: str) -> dict[str, Any]:
    """Return a rule's text and facts as the page shows them."""
    bounds = " and ".join(f"{name} matches “{pattern}”" for name, pattern in rule["where"].items())
    left, until = rule["uses_left"], rule["until"]
    facts = [
        "any number of times" if left is None else f"{count(left, 'time')} left",
        f"until {clock(until, zone)}" if until else "for good",
        f"agreed by {rule['user']}",
        f"does not hold: {problem}" if problem else "",
    ]
    return {"text": f"{rule['tool']} runs without asking where {bounds}", "facts": facts}


@router.delete("/rules/{rule}", status_code=204)
async def revoke(rule: str, who: Who, page: Opened) -> Response:
    """Forget a rule."""
    if not await page.res.ledger.revoke_rule(rule, user=None if who.is_admin else who.user):
        raise UnknownRuleError(f"There is no rule {rule!r} of yours.")
    return Response(status_code=204)


@router.get("/pins")
async def pins(who: Who, page: Opened) -> Response:
    """List the tools of MCP servers, and which are agreed to."""
    servers = page.res.servers
    found = await servers.agreements(who.user) if servers else []
    words = {True: "agreed to as it is; if it changes, it asks again", False: "seen, not agreed to"}
    named = [{**pin, "text": f"{pin['tool']}, of {pin['server']}"} for pin in found]
    return Json([{**pin, "facts": [words[pin["agreed"]]]} for pin in named])


@router.delete("/pins/{server}/{tool}", status_code=204)
async def withdraw(server: str, tool: str, who: Who, page: Opened) -> Response:
    """Take an agreement back: the tool asks again."""
    servers = page.res.servers
    if servers is None or not await servers.withdraw(server, tool, who.user):
        raise PageError(404, f"There is no tool {tool!r} of an MCP server {server!r}.")
    page.changes.note(who.user, "pins")
    return Response(status_code=204)


@router.get("/memories")
async def memories(who: Who, page: Opened) -> Response:
    """List a user's memories, the latest first."""
    zone = str(page.res.settings.zone(who.user))
    rows = await memory_rows(page.store, page.res.ledger, who.user)
    return Json([{**row, "facts": [clock(row["created_at"], zone), row["from"]]} for row in rows])


@router.patch("/memories/{memory}")
async def rewrite(memory: str, given: Memory, who: Who, page: Opened) -> Response:
    """Have something else remembered instead; its id is then another.

    The person has read what they save, so that no mark stays.
    """
    redact = page.res.settings.redact
    await _check_memory(page, who.user, memory)
    try:
        key = await write_memory(page.store, who.user, given.text, redact, instead=memory)
    except ToolFailure as failure:
        raise PageError(422, str(failure)) from None
    page.changes.note(who.user, "memories")
    return Json({"id": key, "text": given.text.strip(), "untrusted": False})


@router.delete("/memories/{memory}", status_code=204)
async def forget(memory: str, who: Who, page: Opened) -> Response:
    """Forget a memory."""
    await _check_memory(page, who.user, memory)
    await page.store.adelete(place_of(who.user), memory)
    page.changes.note(who.user, "memories")
    return Response(status_code=204)


async def _check_memory(page: Page, user: str, key: str) -> None:
    if await page.store.aget(place_of(user), key) is None:
        raise PageError(404, f"There is no memory {key!r} of yours.")


@router.get("/planned")
async def planned(who: Who, page: Opened) -> Response:
    """List a user's schedules, the next due first."""
    schedules = _schedules(page)
    found = await schedules.find(user=who.user)
    last = {each.id: await schedules.runs(each.id, 1) for each in found}
    became = await outcomes(page.res.ledger, [run for runs in last.values() for run in runs])
    return Json([_planned(each, last[each.id], became, page.res.settings) for each in found])


@router.patch("/planned/{schedule}", status_code=204)
async def change(schedule: str, given: ScheduleChange, who: Who, page: Opened) -> Response:
    """Let a schedule rest, or go on with it."""
    schedules = _schedules(page)
    step = schedules.pause if given.status == "paused" else schedules.resume
    _check(schedule, found=await step(schedule, who.user))
    page.changes.note(who.user, "planned")
    return Response(status_code=204)


@router.delete("/planned/{schedule}", status_code=204)
async def cancel(schedule: str, who: Who, page: Opened) -> Response:
    """Forget a schedule, what is not sent included."""
    _check(schedule, found=await _schedules(page).remove(schedule, who.user, page.res.settings))
    page.changes.note(who.user, "planned")
    return Response(status_code=204)


def _schedules(page: Page) -> Schedules:
    return Schedules(page.res.ledger)


def _check(ident: str, *, found: bool) -> None:
    if not found:
        raise PageError(404, f"There is no schedule {ident!r} of yours.")


def _planned(
    schedule: Schedule, runs: list[Run], became: Mapping[str, str], settings: Settings
) -> dict[str, object]:
    """Return a schedule as the page shows it, and what ends it."""
    is_declared = table_of(settings, schedule.user, schedule.recurrence) is not None
    end = None if is_declared else "Remove" if schedule.status == "ended" else "Cancel"
    zone = settings.zone(schedule.user).key
    facts = [
        "a reminder" if schedule.is_reminder else "",
        words_for(schedule.recurrence, zone),
        f"next {due}" if (due := schedule.next_in(zone)) else "",
        f"last {clock(runs[-1].due_at, zone)}: {became[runs[-1].id]}" if runs else "",
        schedule.status + (f": {schedule.why}" if schedule.why else ""),
    ]
    return {"id": schedule.id, "text": schedule.task, "status": schedule.status, "facts": facts, "end": end}
