"""The person's calendar: its tools, and their previews on the card."""

from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import sha256
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import Field

from base.environment import TimeZone
from base.settings import LoginCard, Settings
from base.texts import is_blank, visible
from base.worker_threads import in_thread
from tools.calendar.caldav import Calendar, NoAnswerError, open_calendar
from tools.calendar.icalendar import Span, address_key, event_text, is_same_event, moment, occurrences
from tools.declaration import Here, Kind, OutcomeUnknown, Tool, ToolFailure, Undo, tool

_LONGEST_SPAN = timedelta(days=366)

Time = Annotated[str, "2026-11-20T15:00, or 2026-11-20 for a whole day"]
Until = Annotated[str, "as start, a day included; empty: a day after the start"]
End = Annotated[str, "as start, a day included; empty: an hour, or the one day"]


class CalendarCard(LoginCard):
    """The `[tools.calendar]` table."""

    url: str = Field(pattern=r"^https?://[^/@\s]+(/\S*)?$")
    """A CalDAV server, or one calendar on it."""
    calendar: str | None = None
    """Name of the calendar; None: the only one there is."""
    addresses: tuple[str, ...] = ()
    """The person's mail addresses in invitations, besides user and those that the server knows."""
    timezone: TimeZone | None = None
    """Zone of people whose table names none, such as Europe/Paris; None: the machine's."""


def _missing(settings: Settings) -> str | None:
    card = settings.read_table(("tools", "calendar"), CalendarCard)
    if card is None:
        return "set url in [tools.calendar] of twobrain.toml to a CalDAV server"
    return card.missing(settings, "calendar server")


def _required(here: Here) -> CalendarCard:
    card = here.settings.read_table(("tools", "calendar"), CalendarCard)
    if card is None:
        raise ToolFailure("The calendar is not configured.")
    return card


def _opened(here: Here) -> AbstractAsyncContextManager[Calendar]:
    card = _required(here)
    return open_calendar(card.url, card.login(here.settings), card.calendar)


# Untrusted: whoever sends an invitation writes into a calendar.
@tool(effect="read", untrusted=True, missing=_missing)
async def list_events(here: Here, start: Time, end: Until = "") -> str:
    """List what the calendar has between two times, at most a year apart."""
    card = _required(here)
    zone = here.settings.zone(here.user)
    span = Span.of(moment(start, zone), moment(end, zone) if end else None, zone, alone=timedelta(days=1))
    if span.end - span.start > _LONGEST_SPAN:
        raise ToolFailure("That is more than a year; ask for a shorter time.")
    async with _opened(here) as calendar:
        texts = await calendar.between(span.start, span.end)
        invited = any("ATTENDEE" in text for text in texts)
        known = await calendar.addresses() if invited else []
    named = (*known, *card.addresses, card.user or "")
    mine = frozenset(address_key(each) for each in named if "@" in each)
    lines = await in_thread(partial(occurrences, texts, span, zone, mine))
    return "\n".join([f"Times in {zone}:", *lines]) if lines else f"There is nothing {span}."


def _preview(  # noqa: PLR0913, PLR0917 (the parameters of add_event)
    here: Here, summary: str, start: str, end: str = "", location: str = "", notes: str = ""
) -> str:
    zone = here.settings.zone(here.user)
    span = _span(zone, summary, start, end)
    first = f"Add to the calendar: {visible(summary)}"
    lines = (first, f"{span} ({zone})", visible(location), notes)
    return "\n".join(filter(None, lines))


async def _check_as_left(calendar: Calendar, record: dict[str, Any]) -> str:
    """Return the version of an event that is as it was added."""
    found = await calendar.event(record["name"]) if str(calendar.url) == record["calendar"] else None
    if found is None:
        raise ToolFailure(f"The event is not in the calendar any more: {record['what']}.")
    text, version = found
    if not await in_thread(partial(is_same_event, text, record["text"])):
        raise ToolFailure(f"The event has been changed since, so it stays as it is: {record['what']}.")
    return version


async def _preview_undo(here: Here, record: dict[str, Any]) -> str:
    async with _opened(here) as calendar:
        await _check_as_left(calendar, record)
    return f"Take out of the calendar: {visible(record['what'])}"


async def _undo(here: Here, record: dict[str, Any]) -> str:
    async with _opened(here) as calendar:
        version = await _check_as_left(calendar, record)
        try:
            done = await calendar.delete(record["name"], version)
        except NoAnswerError as error:
            raise OutcomeUnknown(f"{error} It is unknown whether the event was taken out.") from None
    if not done:
        raise ToolFailure(f"The event has been changed just now, so it stays as it is: {record['what']}.")
    return f"Taken out of the calendar: {record['what']}."


async def _is_undone(here: Here, record: dict[str, Any]) -> bool | None:
    async with _opened(here) as calendar:
        is_there = str(calendar.url) != record["calendar"] or await calendar.event(record["name"])
    return None if is_there else True


# Named after the call, an event that is added again after a crash is still one.
@tool(
    effect="write",
    idempotent=True,
    preview=_preview,
    undo=Undo(_preview_undo, _undo, _is_undone),
    missing=_missing,
    kind=Kind("New entries in the calendar", {"summary": "any"}),
)
async def add_event(  # noqa: PLR0913, PLR0917 (each is one property of an event)
    here: Here,
    summary: Annotated[str, "what it is"],
    start: Time,
    end: End = "",
    location: Annotated[str, "where; may be empty"] = "",
    notes: Annotated[str, "anything else; may be empty"] = "",
) -> str:
    """Add an event to the calendar."""
    zone = here.settings.zone(here.user)
    span = _span(zone, summary, start, end)
    name = f"{sha256(here.idempotency_key.encode()).hexdigest()[:32]}-twobrain"
    text = await in_thread(partial(event_text, name, summary, span, location=location, notes=notes))
    what = f"{summary}, {span} ({zone})"
    async with _opened(here) as calendar:
        record = {"name": name, "text": text, "calendar": str(calendar.url), "what": what}
        await in_thread(partial(here.log_undo, record, first=True))
        try:
            new = await calendar.put(name, text)
        except NoAnswerError as error:
            raise OutcomeUnknown(
                f"{error} It is unknown whether the event was added; list_events shows."
            ) from None
    return f"{'Added' if new else 'It is there already'}: {what}."


def _span(zone: ZoneInfo, summary: str, start: str, end: str) -> Span:
    if is_blank(summary):
        raise ToolFailure("The summary is empty; say what it is.")
    begins, ends = moment(start, zone), moment(end, zone) if end else None
    if ends and isinstance(begins, datetime) != isinstance(ends, datetime):
        raise ToolFailure("Give start and end both as days, or both with a time.")
    alone = timedelta(hours=1) if isinstance(begins, datetime) else timedelta(days=1)
    return Span.of(begins, ends, zone, alone=alone)


def tools(settings: Settings) -> tuple[Tool, ...]:
    """Return the family, which knows times in the zones of all people."""
    card = settings.read_table(("tools", "calendar"), CalendarCard)
    zones = {settings.zone(user) for user in ("local", *settings.users)} if card else set()
    canonical = partial(_canonical, sorted(zones, key=str))
    return (list_events, replace(add_event, canonical=canonical) if card else add_event)


def _canonical(zones: list[ZoneInfo], args: dict[str, Any]) -> dict[str, Any]:
    """Return arguments, as the instants that they mean in each zone."""
    spans = [_span(zone, args["summary"], args["start"], args["end"]) for zone in zones]
    return {
        **args,
        "start": ", ".join(_instant(span.start, span) for span in spans),
        "end": ", ".join(_instant(span.end, span) for span in spans),
    }


def _instant(when: datetime, span: Span) -> str:
    return str(when.date() if span.whole_days else when.astimezone(UTC))
