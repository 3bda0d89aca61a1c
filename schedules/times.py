"""Times and rules as people and models type them, understood."""

import re
from datetime import UTC, datetime, time, timedelta

from base.environment import time_zone
from base.errors import RequestError
from base.texts import count
from schedules.recurrence import Recurrence, checked, clock
from schedules.rule_words import words_of

_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_UNITS = (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1))
_LASTING = re.compile(r"(\d{1,6})\s*(s|m|h|d|w)[a-z]*\.?", re.IGNORECASE)
_CLOCK = re.compile(
    r"(?:(today|tomorrow)\s+(?:at\s+)?)?(\d{1,2})(?::(\d{2})(?::(\d{2}))?)?\s*([ap]m)?", re.IGNORECASE
)
_HOURS_TO_NOON = 12
_EXAMPLES = "07:00, 7am, tomorrow 07:00, 2026-12-01 07:00, 2026-12-01T07:00:00+01:00, or in 90m"


def recurrence_of(  # noqa: PLR0913 (each way in which it can be said)
    now: float,
    zone: str,
    *,
    at: str | None = None,
    every: str | None = None,
    rule: str | None = None,
    cron: str | None = None,
) -> Recurrence:
    """Return when something is due, said in one of these ways.

    Args:
        now: Unix seconds.
        zone: by whose clock, as an IANA name: the person's, unless they name another.
        at: a time on their clock, a date and time, or `in 90m`; once, or of `every` the first.
        every: seconds, minutes, hours, days or weeks between two times, such as `90m`.
        rule: an RRULE (RFC 5545).
        cron: a cron expression of five fields.

    Raises:
        RequestError: it is said in no or two ways, cannot be read, is never due, or too often.
    """
    if (
        sum(1 for each in (every, rule, cron) if each) > 1
        or (at and (rule or cron))
        or not any((at, every, rule, cron))
    ):
        raise RequestError(
            "Say when in one way: at a time, every so often (from a time on), by a rule, or as cron."
        )
    try:
        time_zone(zone)
    except ValueError as error:
        raise RequestError(f"{zone!r} is no time zone: {error}.") from None
    begins = _moment(at, now, zone) if at else now
    if every:
        step = _lasting(re.sub(r"^\s*every\s", "", every, flags=re.IGNORECASE))
        if step is None:
            raise RequestError(f"{every!r} is no length of time: write 90m, 2h, 1d or 1w.")
        found = Recurrence("every", str(step), zone, begins if at else now + step)
    elif rule:
        found = Recurrence("rrule", rule.strip(), zone, now - now % 60)
    elif cron:
        found = Recurrence("cron", cron.strip(), zone, now)
    else:
        found = Recurrence("once", "", zone, begins)
    return checked(found, now)


def is_relative(said: str) -> bool:
    """Tell whether a time is from now on, such as `in 90m`."""
    return _lasting(said.strip().removeprefix("in ")) is not None


def skipped_by_clocks(said: str | None, recurrence: Recurrence) -> str:
    """Say that clocks skip the time that was said; empty: none do."""
    text, zone = (said or "").strip(), time_zone(recurrence.zone)
    shown = datetime.fromtimestamp(recurrence.begins_at, zone)
    try:
        meant = found[1] if (found := _on_clock(text)) else datetime.fromisoformat(text)
    except ValueError:  # no time on a clock, such as `in 90m`
        return ""
    if meant.tzinfo or (meant.hour, meant.minute) == (shown.hour, shown.minute):
        return ""
    return (
        f"The clocks in {recurrence.zone} skip {text}: it is {clock(recurrence.begins_at, recurrence.zone)}."
    )


def words_for(recurrence: Recurrence, zone: str = "") -> str:
    """Return in words how often something is due.

    `zone` is its reader's: whose clock a rule goes by is said where that is another's.
    """
    if recurrence.kind == "once":
        return "once"
    if recurrence.kind == "every":
        step = float(recurrence.rule)
        unit, seconds = next(each for each in _UNITS if step % each[1] == 0)
        return f"every {count(round(step / seconds), unit)}"
    if recurrence.kind == "event":
        return f"at each: {recurrence.rule}"
    often = words_of(recurrence) or recurrence.rule
    return f"{often} in {recurrence.zone}" if zone not in {"", recurrence.zone} else often


def _moment(said: str, now: float, zone: str) -> float:
    text = said.strip()
    lasting = _lasting(text.removeprefix("in "))
    if lasting is not None:
        return now + lasting
    here = time_zone(zone)
    today = datetime.fromtimestamp(now, here)
    try:
        if found := _on_clock(text):
            day, shown = found
            later = day == "tomorrow" or (
                not day and datetime.combine(today.date(), shown, here).timestamp() <= now
            )
            due = datetime.combine(today.date() + timedelta(days=later), shown, here)
        else:
            due = datetime.fromisoformat(text)
            due = due if due.tzinfo else due.replace(tzinfo=here)
        return due.astimezone(UTC).timestamp()
    except (ValueError, OverflowError):
        raise RequestError(f"{said!r} is no time: write {_EXAMPLES}.") from None


def _on_clock(text: str) -> tuple[str, time] | None:
    """Return the day that is named, and the time; None: neither.

    Raises:
        ValueError: no clock shows it.
    """
    found = _CLOCK.fullmatch(text)
    if not found or not (found[3] or found[5]):
        return None
    hour, minute, second = (int(part or 0) for part in found.group(2, 3, 4))
    if half := (found[5] or "").lower():
        if not 1 <= hour <= _HOURS_TO_NOON:
            raise ValueError(text)
        hour = hour % _HOURS_TO_NOON + (_HOURS_TO_NOON if half == "pm" else 0)
    return (found[1] or "").lower(), time(hour, minute, second)


def _lasting(said: str) -> int | None:
    """Return a length of time in seconds; None: it is none."""
    parts = said.strip().split() if not _LASTING.fullmatch(said.strip()) else [said.strip()]
    found = [_LASTING.fullmatch(part) for part in parts]
    if not found or not all(found):
        return None
    return sum(int(part[1]) * _SECONDS[part[2].lower()] for part in found if part)
