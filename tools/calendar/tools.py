"""The person's calendar: its tools, and their previews on the card."""

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
from tools.calendar.caldav import NoAnswerError, open_calendar
from tools.calendar.icalendar import Span, address_key, event_text, moment, occurrences
from tools.declaration import Here, Kind, OutcomeUnknown, Tool, ToolFailure, tool

_LONGEST = timedelta(days=366)

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


# Untrusted: whoever sends an invitation writes into a calendar.
@tool(effect="read", untrusted=True, missing=_missing)
async def list_events(here: Here, start: Time, end: Until = "") -> str:
    """List what the calendar has between two times, at most a year apart."""
    card = _required(here)
    zone = here.settings.zone(here.user)
    span = Span.of(moment(start, zone), moment(end, zone) if end else None, zone, alone=timedelta(days=1))
    if span.end - span.start > _LONGEST:
        raise ToolFailure("That is more than a year; ask for a shorter time.")
    async with open_calendar(card.url, card.login(here.settings), card.calendar) as calendar:
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


# Named after the call, an event that is added again after a crash is still one.
@tool(
    effect="write",
    idempotent=True,
    preview=_preview,
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
    card = _required(here)
    zone = here.settings.zone(here.user)
    span = _span(zone, summary, start, end)
    name = f"{sha256(here.idempotency_key.encode()).hexdigest()[:32]}-twobrain"
    text = await in_thread(partial(event_text, name, summary, span, location=location, notes=notes))
    async with open_calendar(card.url, card.login(here.settings), card.calendar) as calendar:
        try:
            new = await calendar.put(name, text)
        except NoAnswerError as error:
            raise OutcomeUnknown(
                f"{error} It is unknown whether the event was added; list_events shows."
            ) from None
    return f"{'Added' if new else 'It is there already'}: {summary}, {span} ({zone})."


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
