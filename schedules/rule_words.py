"""Common rules and cron lines in words; others stay as they are."""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from base.environment import time_zone
from schedules.recurrence import Recurrence

_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_CODES = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
_CRON_NAMES = {"MON": 1, "TUE": 2, "WED": 3, "THU": 4, "FRI": 5, "SAT": 6, "SUN": 7}
_MOST_TIMES = 4
"""Of a day that are said one by one."""
_LAST_DAY = 28
"""Of a month that each month has."""
_STEP = re.compile(r"\*/(\d{1,2})")
_RULED = {"FREQ", "INTERVAL", "BYDAY", "BYHOUR", "BYMINUTE", "BYSECOND", "BYMONTHDAY", "WKST"}


def words_of(recurrence: Recurrence) -> str | None:
    """Return a rule or cron line in words; None: it stays raw.

    No words are better than wrong ones. The times are those on the clock of its zone.
    """
    if recurrence.kind == "cron":
        return _cron(recurrence.rule.upper().split())
    return _rrule(recurrence) if recurrence.kind == "rrule" else None


def _cron(fields: Sequence[str]) -> str | None:
    minute, hour, day, month, weekday = fields
    if month != "*" or (day != "*" and weekday != "*"):  # cron takes either day
        return None
    if hour == day == weekday == "*":
        return _within_hours(minute)
    if day != "*":
        on = _on_day(_numbers(day, 1, 31))
    else:
        on = _on_days(range(7) if weekday == "*" else _weekdays(weekday))
    times = _times(_numbers(hour, 0, 23), _numbers(minute, 0, 59))
    return f"{on} at {times}" if on and times else None


def _within_hours(minute: str) -> str | None:
    """Return the words for what is due in each hour."""
    step = _STEP.fullmatch(minute)
    if step and int(step[1]) > 1 and 60 % int(step[1]) == 0:
        return f"every {int(step[1])} minutes by the clock"
    if minute in {"*", "*/1"}:
        return "every minute by the clock"
    found = _numbers(minute, 0, 59)
    return f"every hour by the clock, at :{found[0]:02}" if found and len(found) == 1 else None


def _weekdays(field: str) -> Sequence[int] | None:
    """Return cron's days of the week, 0 is Monday."""
    for name, number in _CRON_NAMES.items():
        field = field.replace(name, str(number))
    found = _numbers(field, 0, 7)
    return sorted({(day - 1) % 7 for day in found}) if found else None


def _rrule(recurrence: Recurrence) -> str | None:
    pairs = [part.partition("=")[::2] for part in recurrence.rule.upper().removeprefix("RRULE:").split(";")]
    parts = {name.strip(): value.strip() for name, value in pairs if name.strip()}
    first = datetime.fromtimestamp(recurrence.begins_at, time_zone(recurrence.zone))
    is_plain = parts.keys() <= _RULED and parts.get("INTERVAL", "1") == "1"
    if not is_plain or len(parts) < len(pairs) or parts.get("BYSECOND", str(first.second)) != "0":
        return None
    hours = _numbers(parts.get("BYHOUR", str(first.hour)), 0, 23)
    times = _times(hours, _numbers(parts.get("BYMINUTE", str(first.minute)), 0, 59))
    on = _ruled_days(parts, first)
    return f"{on} at {times}" if on and times else None


def _ruled_days(parts: Mapping[str, str], first: datetime) -> str | None:
    """Return the words for a rule's days; `first`: it begins then."""
    kind, days, of_month = parts.get("FREQ"), parts.get("BYDAY"), parts.get("BYMONTHDAY")
    if kind == "MONTHLY" and days is None:
        return _on_day(_numbers(of_month or str(first.day), 1, 31))
    if kind not in {"DAILY", "WEEKLY"} or of_month is not None:
        return None
    if days is None:
        return _on_days(range(7) if kind == "DAILY" else [first.weekday()])
    named = [code.strip() for code in days.split(",")]
    if not set(named) <= set(_CODES):
        return None
    return _on_days([number for number, code in enumerate(_CODES) if code in named])


def _numbers(field: str, least: int, most: int) -> list[int] | None:
    """Return the numbers of a list with spans; None: it is none."""
    found: set[int] = set()
    for part in field.split(","):
        ends = part.split("-")
        if len(ends) > 2 or not all(re.fullmatch(r"\d{1,2}", end, re.ASCII) for end in ends):  # noqa: PLR2004
            return None
        first, last = int(ends[0]), int(ends[-1])
        if not least <= first <= last <= most:
            return None
        found |= set(range(first, last + 1))
    return sorted(found)


def _times(hours: Sequence[int] | None, minutes: Sequence[int] | None) -> str | None:
    if not hours or not minutes or len(hours) * len(minutes) > _MOST_TIMES:
        return None
    return _joined(f"{hour:02}:{minute:02}" for hour in hours for minute in minutes)


def _on_days(days: Sequence[int] | None) -> str | None:
    if not days:
        return None
    if len(days) == len(_DAYS):
        return "every day"
    if len(days) > 2 and days[-1] - days[0] == len(days) - 1:  # noqa: PLR2004 (a span)
        return f"{_DAYS[days[0]]} to {_DAYS[days[-1]]}"
    return _joined(f"{_DAYS[day]}s" for day in days)


def _on_day(days: Sequence[int] | None) -> str | None:
    return f"on day {days[0]} of each month" if days and len(days) == 1 and days[0] <= _LAST_DAY else None


def _joined(words: Iterable[str]) -> str:
    *others, last = words
    return f"{', '.join(others)} and {last}" if others else last
