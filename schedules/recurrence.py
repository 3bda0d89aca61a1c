"""Due times, computed: once, regularly, by any RRULE or cron line.

A rule's times are those that a clock on the wall shows. Where the clocks go forward, a time that they skip
is that much later (RFC 5545, 3.3.5); where they go back, a time that comes twice counts the first time, but
for a rule of hours, which are each real hour. What is due every so often minds no clock.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from typing import Any, Literal
from zoneinfo import ZoneInfo

from base.environment import time_zone
from base.errors import RequestError

SHORTEST_S = 60.0
"""Seconds between two due times: a turn takes some."""
_LONGEST_RULE = 500
_TRIED = 50
"""Due times of a rule whose distances are looked at."""
_LATEST_DATE = 253_370_764_800.0
"""The year 9999, where dates end."""
_A_DAY = timedelta(days=1)
_OFTEN = ("SECONDLY", "MINUTELY")
_TOO_OFTEN = RequestError(f"That is due too often: leave at least {SHORTEST_S:g} seconds between two times.")
_FINE = re.compile(r"BY(?:MONTH|MONTHDAY|YEARDAY|WEEKNO|SETPOS|EASTER)=")
_INTERVAL = re.compile(r"INTERVAL=(\d+)")

Kind = Literal["once", "every", "rrule", "cron", "event"]


@dataclass(frozen=True, slots=True)
class Recurrence:
    """When something is due; times are Unix seconds."""

    kind: Kind
    rule: str
    """Seconds, an RRULE (RFC 5545) or a cron expression of five fields, as the kind says; once: nothing;
    of an event: what it comes from, see `schedules.triggers`."""
    zone: str
    begins_at: float
    """The time it is due once, or from which the others are counted."""

    def after(self, at: float) -> float | None:
        """Return the next due time later than that; None: there is none."""
        return next(self.times_after(at), None)

    def times_after(self, at: float) -> Iterator[float]:
        """Yield the due times later than that, in order."""
        if self.kind == "once":
            return iter((self.begins_at,) if self.begins_at > at else ())
        if self.kind == "event":
            return iter(())
        if self.kind == "every":
            return self._steps(at)
        return self._ruled(at)

    def _steps(self, at: float) -> Iterator[float]:
        step = float(self.rule)
        due = self.begins_at + max(0.0, (at - self.begins_at) // step + 1) * step
        while due < _LATEST_DATE:
            yield due
            due += step

    def _ruled(self, at: float) -> Iterator[float]:
        zone = time_zone(self.zone)
        yielded = max(at, self.begins_at - 1)
        local = datetime.fromtimestamp(yielded, zone).replace(tzinfo=None, fold=0) - _A_DAY
        is_hourly = self.kind == "rrule" and "FREQ=HOURLY" in self.rule.upper()
        shown = _cron_times(self.rule, local) if self.kind == "cron" else self._rrule_times(zone, local)
        for time in shown:
            for due in _instants(time, zone, each=is_hourly):
                if due > yielded:
                    yielded = due
                    yield due

    def _rrule_times(self, zone: ZoneInfo, after: datetime) -> Iterator[datetime]:
        begins = datetime.fromtimestamp(self.begins_at, zone).replace(tzinfo=None, fold=0)
        return iter(_parsed(self.rule, begins).xafter(after))


def checked(recurrence: Recurrence, now: float) -> Recurrence:
    """Return it where it can be kept.

    Raises:
        RequestError: it cannot be read, is never due, or too often.
    """
    try:
        time_zone(recurrence.zone)
        if recurrence.kind == "every" and not float(recurrence.rule) >= SHORTEST_S:
            raise _TOO_OFTEN
        dues = list(islice(recurrence.times_after(now), _TRIED if recurrence.kind != "every" else 2))
    except (ValueError, OverflowError, KeyError) as error:
        raise _unreadable(recurrence, error) from None
    if not dues:
        if recurrence.kind == "once":
            raise RequestError(f"{clock(recurrence.begins_at, recurrence.zone)} is past: say a time to come.")
        rule = recurrence.rule if recurrence.kind != "every" else f"every {recurrence.rule} seconds"
        raise RequestError(f"{rule!r} is never due: no day to come fits it.")
    if any(later - due < SHORTEST_S for due, later in pairwise(dues)):
        raise _TOO_OFTEN
    return recurrence


def _unreadable(recurrence: Recurrence, error: Exception) -> RequestError:
    forms = {
        "every": "a number of seconds",
        "rrule": "an RRULE such as FREQ=WEEKLY;BYDAY=MO;BYHOUR=7;BYMINUTE=0",
        "cron": "a cron expression of five fields, such as 0 7 * * 1-5",
    }
    wanted = forms.get(recurrence.kind, "a time")
    return RequestError(f"{recurrence.rule!r} cannot be read as {wanted}: {error}")


def _parsed(rule: str, begins: datetime) -> Any:
    from dateutil.rrule import rrule, rrulestr  # type: ignore[import-untyped]

    parts = rule.upper().removeprefix("RRULE:")
    if len(rule) > _LONGEST_RULE or "\n" in rule or ":" in parts:
        raise ValueError("one rule of at most 500 characters is taken, and nothing beside it")
    if any(f"FREQ={often}" in parts for often in _OFTEN):
        raise ValueError("FREQ is HOURLY at the most; what is due more often is due every so many seconds")
    if "FREQ=HOURLY" in parts and _FINE.search(parts):  # it would be looked for hour by hour
        raise ValueError("a rule of hours names no months or days of them: say FREQ=DAILY, and BYHOUR")
    if (interval := _INTERVAL.search(parts)) and not int(interval[1]):
        raise ValueError("INTERVAL is 1 at the least")
    read = rrulestr(parts.replace("Z", "") if "UNTIL=" in parts else parts, dtstart=begins)
    if not isinstance(read, rrule):
        raise ValueError("one rule is taken")  # noqa: TRY004 (of what somebody wrote)
    # One that never fits would be followed to the year 9999: it is tried in the last years before that, which
    # hold a leap day on each weekday.
    late = begins.replace(year=9968 + begins.year % 4, day=min(begins.day, 28))
    if next(iter(read.replace(dtstart=late, until=None, count=None, interval=1)), None) is None:
        raise ValueError("no day fits it")
    return read


def _cron_times(expression: str, after: datetime) -> Iterator[datetime]:
    from cronsim import CronSim, CronSimError

    if len(expression.split()) != 5:  # noqa: PLR2004 (minute, hour, day, month, weekday)
        raise ValueError("there are five fields: minute, hour, day of the month, month, day of the week")
    try:
        return iter(CronSim(expression, after))
    except CronSimError as error:
        raise ValueError(str(error)) from None


def _instants(shown: datetime, zone: ZoneInfo, *, each: bool) -> Iterator[float]:
    """Yield when clocks show a time; `each` time that they do."""
    first = shown.replace(tzinfo=zone, fold=0).timestamp()
    second = shown.replace(tzinfo=zone, fold=1).timestamp()
    if not each or first == second:
        yield first
    elif first < second:
        yield from (first, second)
    # else they never show it: that hour is not there


def clock(at: float, zone: str) -> str:
    """Return a time as a person reads it: 2026-12-01 07:00 CET."""
    return f"{datetime.fromtimestamp(at, UTC).astimezone(time_zone(zone)):%Y-%m-%d %H:%M %Z}"
