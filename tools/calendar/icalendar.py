"""Events as iCalendar text, and as a person reads them."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice
from math import prod
from time import monotonic
from typing import Any, Self
from urllib.parse import unquote
from zoneinfo import ZoneInfo

from base.texts import one_line
from tools.declaration import ToolFailure

_NOTED = {"BEGIN", "END", "PRODID", "VERSION", "DTSTAMP", "CREATED", "LAST-MODIFIED"}
"""Properties that a server may change in an event that nobody edited."""
_MOST_EVENTS = 100
_MOST_OF_A_SERIES = 1_000
_TITLE_CHARS = 200
"""Characters of a title or a place that are shown."""
_MOST_OCCURRENCES = 100_000
"""Times that the events of one entry happen; about a second's work. Only a bomb has more."""
_AN_HOUR, _A_DAY = timedelta(hours=1), timedelta(days=1)
_PERIODS = {
    "SECONDLY": timedelta(seconds=1),
    "MINUTELY": timedelta(minutes=1),
    "HOURLY": _AN_HOUR,
    "DAILY": _A_DAY,
    "WEEKLY": timedelta(weeks=1),
}
"""Of the frequencies that have a fixed one; those of months and years have none."""
_PATIENCE_S = 15
_LASTS = "X-TWOBRAIN-LASTS"
"""Property under which the length of an event is kept while its series is unfolded."""
_ABSENT = {"declined", "delegated"}
"""Answers to an invitation by which one does not come."""


def moment(words: str, zone: ZoneInfo) -> date | datetime:
    """Return the day or time, by default in that zone.

    Raises:
        ToolFailure: it is neither, or a time that the clocks there skip.
    """
    text = words.strip()
    try:
        if len(text) == len("2026-11-20"):
            return date.fromisoformat(text)
        said = datetime.fromisoformat(text)
        found = _in(said, zone)
    except (ValueError, OverflowError):
        raise ToolFailure(
            f"{words!r} is neither a day such as 2026-11-20 nor a time such as 2026-11-20T15:00."
        ) from None
    if said.tzinfo is None and found.replace(tzinfo=None) != said:
        raise ToolFailure(
            f"There is no {said:%H:%M} on {said:%Y-%m-%d} in {zone}: the clocks are put forward over it. "
            f"Say another time, such as {found:%Y-%m-%dT%H:%M}."
        )
    return found


@dataclass(frozen=True, slots=True)
class Span:
    """From a time up to another, which is not included."""

    start: datetime
    end: datetime
    whole_days: bool = False

    @classmethod
    def of(
        cls, start: date | datetime, end: date | datetime | None, zone: ZoneInfo, *, alone: timedelta
    ) -> Self:
        """Return a span in a zone, a day as its end included.

        Without an end it lasts for `alone`.

        Raises:
            ToolFailure: it ends before it begins.
        """
        try:
            begins = _in(start, zone)
            if end is None:
                ends = _later(begins, alone)
            else:
                ends = end if isinstance(end, datetime) else _in(end + timedelta(days=1), zone)
        except OverflowError:
            raise ToolFailure("That is too far away.") from None
        if ends.timestamp() <= begins.timestamp():
            raise ToolFailure("The end is not after the start.")
        return cls(begins, ends, whole_days=not isinstance(start, datetime))

    def __str__(self) -> str:
        first = self.start.date()
        if self.whole_days:
            last = self.end.date() - timedelta(days=self.end.time() == time.min)
            return f"{first} all day" if last <= first else f"{first} to {last} all day"
        if self.start.date() == self.end.date():
            return f"{first} {_clock(self.start)}-{_clock(self.end)}"
        return f"{first} {_clock(self.start)} to {self.end.date()} {_clock(self.end)}"


def event_text(name: str, summary: str, span: Span, *, location: str, notes: str) -> str:
    """Return a new event as iCalendar, in UTC, without tables of zones."""
    from icalendar import Calendar, Event

    event = Event()
    event.add("uid", name)
    event.add("dtstamp", datetime.now(UTC))
    event.add("summary", summary)
    event.add("dtstart", span.start.date() if span.whole_days else span.start.astimezone(UTC))
    event.add("dtend", span.end.date() if span.whole_days else span.end.astimezone(UTC))
    for key, words in (("location", location), ("description", notes)):
        if words:
            event.add(key, words)
    calendar = Calendar()
    calendar.add("prodid", "-//twobrain//EN")
    calendar.add("version", "2.0")
    calendar.add_component(event)
    return str(calendar.to_ical(), "utf-8")


def is_same_event(one: str, other: str) -> bool:
    """Tell whether two texts say the same of an event; blocks.

    What a server notes beside it does not count.
    """
    from icalendar import Calendar

    try:
        return _said_in(Calendar.from_ical(one)) == _said_in(Calendar.from_ical(other))
    except ValueError:
        return False


def _said_in(component: Any) -> list[Any]:
    said = [
        [name, str(value.to_ical()), sorted(value.params.items())]
        for name, value in component.property_items(recursive=False)
        if name not in _NOTED
    ]
    return [component.name, sorted(said), sorted(map(_said_in, component.subcomponents))]


def address_key(address: str) -> str:
    """Return a mail address, or its URL, as it is compared."""
    return unquote(address).strip().casefold().removeprefix("mailto:")


def occurrences(
    texts: Iterable[str], span: Span, zone: ZoneInfo, addresses: frozenset[str] = frozenset()
) -> list[str]:
    """Return a line for each event in a span, series unfolded; blocks.

    What is cancelled, or declined by one of the person's `addresses`, comes last and says so.
    """
    found: list[tuple[str, float, str]] = []
    unreadable = 0
    deadline = monotonic() + _PATIENCE_S
    for text in texts:
        if monotonic() > deadline:
            raise ToolFailure("The calendar takes too long to read; ask for a shorter time.")
        try:
            found += _occurrences(text, span, zone, addresses)
        except Exception:  # what strangers send is often no proper calendar; the others still count
            unreadable += 1
    lines = [f"(Not attended, {status}: {line})" if status else line for status, _, line in sorted(found)]
    if len(lines) > _MOST_EVENTS:
        lines[_MOST_EVENTS:] = [f"… and {len(lines) - _MOST_EVENTS:,} more; ask for a shorter time."]
    return [*lines, f"({unreadable} could not be read.)"] if unreadable else lines


def _occurrences(
    text: str, span: Span, zone: ZoneInfo, addresses: frozenset[str]
) -> Iterator[tuple[str, float, str]]:
    from icalendar import Calendar
    from recurring_ical_events import of  # type: ignore[import-untyped]

    calendar = Calendar.from_ical(text)
    status = "cancelled" if str(calendar.get("METHOD", "")).upper() == "CANCEL" else ""
    _prepare(calendar.walk("VEVENT"), span)
    for event in islice(of(calendar).after(span.start), _MOST_OF_A_SERIES):
        begins, ends = _in(event.start, zone), _in(event.end, zone)
        if _LASTS in event and isinstance(event.start, datetime):
            ends = _later(begins, event[_LASTS].dt)
        took = Span(begins, ends, whole_days=not isinstance(event.start, datetime))
        start, end = begins.timestamp(), ends.timestamp()
        if start >= span.end.timestamp():
            return
        if max(start + 1, end) > span.start.timestamp():
            place = one_line(str(event.get("LOCATION", "")), _TITLE_CHARS)
            title = one_line(str(event.get("SUMMARY", "")), _TITLE_CHARS) or "(no title)"
            line = f"{took} {title}{f' ({place})' if place else ''}"
            yield status or _status(event, addresses), start, line


def _prepare(events: list[Any], span: Span) -> None:
    """Make the unfolding of series short, and keep what it forgets.

    Raises:
        ValueError: it would take too long.
    """
    for event in events:
        if "DURATION" in event:
            event[_LASTS] = event["DURATION"]
        if "RECURRENCE-ID" not in event:
            _skip_to(event, span)
    if sum(_weight(event, span) for event in events) > _MOST_OCCURRENCES:
        raise ValueError("unfolding it would take too long")
    for event in events:
        if rules := _rules(event):
            event["RRULE"] = [rule for rule in rules if not _comes_to_nothing(rule, event.start)]


def _status(event: Any, addresses: frozenset[str]) -> str:
    """Return why the person will not attend; empty: they may."""
    if str(event.get("STATUS", "")).strip().upper() in {"CANCELLED", "CANCELED"}:
        return "cancelled"
    attendees = event.get("ATTENDEE", [])
    for each in attendees if isinstance(attendees, list) else [attendees]:
        names = {address_key(each), address_key(each.params.get("EMAIL", ""))}
        answer = str(each.params.get("PARTSTAT", "")).lower()
        if answer in _ABSENT and addresses & names:
            return answer
    return ""


def _rules(event: Any) -> list[Any]:
    """Return an event's rules; a negative COUNT is for ever.

    Raises:
        ValueError: one does not get on.
    """
    rules = event.get("RRULE", [])
    rules = rules if isinstance(rules, list) else [rules]
    for rule in rules:
        if int(_part(rule, "INTERVAL", 1)) < 1:
            raise ValueError("it happens at one time for ever")
        if int(_part(rule, "COUNT", 1)) < 0:
            del rule["COUNT"]
    return rules


def _part(rule: Any, name: str, otherwise: Any) -> Any:
    return rule.get(name, [otherwise])[0]


def _skip_to(event: Any, span: Span) -> None:
    """Let a series begin a year or so before the span.

    It is counted from its start, and some are centuries old. What it comes to stays the same: it begins a
    whole number of its periods later, those of months in whole years. One with a COUNT is left as it is.
    """
    rules = _rules(event)
    if len(rules) != 1 or "COUNT" in rules[0]:
        return
    start, lasts = event.start, event.end - event.start
    every = max(1, int(_part(rules[0], "INTERVAL", 1)))
    days = (span.start.date() - _day(start) - lasts).days - 366
    period = _PERIODS.get(str(_part(rules[0], "FREQ", "")).upper())
    for number in range(days // 366 // every, 0, -1) if period is None else ():
        with suppress(ValueError):  # not each year has a 29th of February
            start = start.replace(year=start.year + number * every)
            break
    if period is not None and days > 0:
        start += timedelta(days=days) // (every * period) * every * period
    if start != event.start:
        event["DTSTART"].dt = start
        if "DTEND" in event:
            event["DTEND"].dt = start + lasts


def _comes_to_nothing(rule: Any, start: date | datetime) -> bool:
    """Tell whether a rule never matches, as each 30th of February does.

    It would be followed to the year 9999: so it is tried in the last years before that, which hold a leap
    day on each weekday.
    """
    from dateutil.rrule import rrulestr  # type: ignore[import-untyped]

    tried = type(rule)(
        {part: said for part, said in rule.items() if part not in {"COUNT", "UNTIL", "INTERVAL"}}
    )
    first = start if isinstance(start, datetime) else datetime.combine(start, time.min)
    late = first.replace(year=9968 + start.year % 4, tzinfo=None)
    return next(iter(rrulestr(tried.to_ical().decode(), dtstart=late)), None) is None


def _day(when: date | datetime) -> date:
    return when.date() if isinstance(when, datetime) else when


def _weight(event: Any, span: Span) -> int:
    """Return about how many times an event happens until the span's end."""
    days = max(366, (span.end.date() - _day(event.start)).days)
    times = 0
    for rule in _rules(event):
        several = prod(len(rule.get(part, [0])) for part in ("BYHOUR", "BYMINUTE", "BYSECOND"))
        period = min(_PERIODS.get(str(_part(rule, "FREQ", "")).upper(), _A_DAY), _A_DAY)
        often = several * days * (_A_DAY // period)
        times += often if period < _AN_HOUR else min(often, int(_part(rule, "COUNT", often)))
    return times


def _in(when: date | datetime, zone: ZoneInfo) -> datetime:
    """Return a time on a zone's clocks, a day as its midnight.

    Of a time that comes twice the first is meant; one that the clocks skip is that much later (RFC 5545).
    """
    if not isinstance(when, datetime):
        return datetime.combine(when, time.min, zone)
    return (when if when.tzinfo else when.replace(tzinfo=zone)).astimezone(UTC).astimezone(zone)


def _later(when: datetime, lasting: timedelta) -> datetime:
    """Return a time later by calendar days, then exact hours."""
    days = timedelta(days=lasting.days)
    there = when + days if days else when  # a sum forgets which of two times is meant
    return (there.astimezone(UTC) + (lasting - days)).astimezone(when.tzinfo)


def _clock(when: datetime) -> str:
    """Return hour and minute, and which where they come twice."""
    if when.replace(fold=1 - when.fold).utcoffset() == when.utcoffset():
        return f"{when:%H:%M}"
    return f"{when:%H:%M} (the {'second' if when.fold else 'first'}, UTC{when.isoformat()[-6:]})"
