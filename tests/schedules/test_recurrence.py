"""When something is due, over changes of clocks, and what is refused."""

from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest

from base.errors import RequestError
from schedules.recurrence import Recurrence, checked, clock
from schedules.times import recurrence_of

ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata")
HALF_PAST_TWO = "FREQ=DAILY;BYHOUR=2;BYMINUTE=30;BYSECOND=0"


def at(said: str, zone: str) -> float:
    return datetime.fromisoformat(said).replace(tzinfo=ZoneInfo(zone)).timestamp()


def within(recurrence: Recurrence, begin: float, end: float) -> list[float]:
    return [due for due in islice(recurrence.times_after(begin - 1), 10_000) if due < end]


@pytest.mark.parametrize(
    ("kind", "rule"), [("rrule", HALF_PAST_TWO), ("cron", "30 2 * * *"), ("rrule", f"RRULE:{HALF_PAST_TWO}")]
)
@pytest.mark.parametrize("zone", ZONES)
def test_a_daily_time_is_due_once_on_each_day_of_a_year(zone, kind, rule):
    begin = at("2026-01-01 00:00", zone)
    dues = within(Recurrence(kind, rule, zone, begin), begin, at("2027-01-01 00:00", zone))
    days = [datetime.fromtimestamp(due, ZoneInfo(zone)).date() for due in dues]
    assert days == [datetime(2026, 1, 1, tzinfo=UTC).date() + timedelta(days=n) for n in range(365)]


@pytest.mark.parametrize(
    ("zone", "day", "shown"),
    [
        ("Europe/Berlin", "2026-03-29", "03:30 CEST"),  # 02:00 to 03:00 is skipped
        ("Europe/Berlin", "2026-10-25", "02:30 CEST"),  # 02:00 to 03:00 comes twice
        ("America/New_York", "2026-03-08", "03:30 EDT"),
        ("America/New_York", "2026-11-01", "02:30 EST"),
        ("Australia/Lord_Howe", "2026-10-04", "02:30 +11"),  # half an hour, from 02:00 on, is skipped
        ("Australia/Lord_Howe", "2026-04-05", "02:30 +1030"),
        ("Asia/Kolkata", "2026-03-29", "02:30 IST"),
    ],
)
@pytest.mark.parametrize(("kind", "rule"), [("rrule", HALF_PAST_TWO), ("cron", "30 2 * * *")])
def test_a_time_that_clocks_skip_is_later_and_one_that_comes_twice_the_first(kind, rule, zone, day, shown):
    begin = at(f"{day} 00:00", zone)
    assert clock(Recurrence(kind, rule, zone, begin - 86_400).after(begin), zone) == f"{day} {shown}"


@pytest.mark.parametrize("zone", ZONES)
def test_each_real_hour_is_due_once_whatever_the_clocks_do(zone):
    begin, end = at("2026-01-01 00:00", zone), at("2027-01-01 00:00", zone)
    hourly = Recurrence("rrule", "FREQ=HOURLY;BYMINUTE=0;BYSECOND=0", zone, begin)
    shown_whole = {datetime.fromtimestamp(due, ZoneInfo(zone)).minute for due in within(hourly, begin, end)}
    assert shown_whole == {0}
    steps = {later - due for due, later in pairwise(within(hourly, begin, end))}
    assert steps == {3_600.0} if "Lord_Howe" not in zone else steps <= {1_800.0, 3_600.0, 5_400.0}


def test_every_so_often_minds_no_clock_and_keeps_its_step_after_an_outage():
    begin = at("2026-10-24 22:00", "Europe/Berlin")
    every = Recurrence("every", "5400", "Europe/Berlin", begin)
    assert {later - due for due, later in pairwise(islice(every.times_after(begin - 1), 50))} == {5_400.0}
    a_year_on = every.after(begin + 365 * 86_400 + 1)
    assert (a_year_on - begin) % 5_400 == 0


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ({"rule": "FREQ=SECONDLY"}, "HOURLY at the most"),
        ({"rule": "FREQ=DAILY;BYSECOND=1,2"}, "too often"),
        ({"rule": "FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30"}, "no day fits"),
        ({"rule": "FREQ=HOURLY;BYMONTH=2;BYMONTHDAY=29;BYDAY=MO;BYHOUR=3"}, "names no months"),
        ({"rule": "FREQ=DAILY;INTERVAL=0"}, "INTERVAL is 1"),
        ({"rule": "FREQ=DAILY;UNTIL=20200101T000000Z"}, "never due"),
        ({"rule": "DTSTART:20260101T000000\nFREQ=DAILY"}, "one rule"),
        ({"rule": "nonsense"}, "cannot be read"),
        ({"cron": "61 * * * *"}, "Bad minute"),
        ({"cron": "* * * * * *"}, "five fields"),
        ({"cron": "0 0 30 2 *"}, "cannot be read"),
        ({"every": "1s"}, "too often"),
        ({"every": "0m"}, "too often"),
        ({"every": "soon"}, "no length of time"),
        ({"at": "2020-01-01 07:00"}, "2020-01-01 07:00 CET is past"),
        ({"at": "25:00"}, "no time"),
        ({"at": "tomorrow"}, "no time"),
        ({"at": "07:00", "cron": "0 7 * * *"}, "one way"),
        ({}, "one way"),
    ],
)
def test_what_is_never_due_too_often_or_unreadable_is_refused_in_words(said, problem):
    with pytest.raises(RequestError, match=problem):
        recurrence_of(at("2026-11-29 12:00", "Europe/Berlin"), "Europe/Berlin", **said)


@pytest.mark.parametrize(
    ("said", "due"),
    [
        ({"at": "07:00"}, "2026-11-30 07:00"),
        ({"at": "18:30"}, "2026-11-29 18:30"),
        ({"at": "2026-12-24 18:00"}, "2026-12-24 18:00"),
        ({"at": "2026-12-24T18:00:00Z"}, "2026-12-24 19:00"),
        ({"at": "in 90m"}, "2026-11-29 13:30"),
        ({"at": "1h 30m"}, "2026-11-29 13:30"),
        ({"every": "2h"}, "2026-11-29 14:00"),
        ({"at": "07:00", "every": "1d"}, "2026-11-30 07:00"),
        ({"cron": "0 7 * * mon"}, "2026-11-30 07:00"),
        ({"rule": "FREQ=WEEKLY;BYDAY=TU;BYHOUR=7;BYMINUTE=0"}, "2026-12-01 07:00"),
        ({"rule": "FREQ=DAILY"}, "2026-11-30 12:00"),
    ],
)
def test_a_time_is_read_on_the_persons_clock(said, due):
    now = at("2026-11-29 12:00", "Europe/Berlin")
    found = recurrence_of(now, "Europe/Berlin", **said)
    assert clock(found.after(now), "Europe/Berlin") == f"{due} CET"


def test_a_rule_that_is_years_old_is_followed_from_where_it_is():
    begin = at("2016-01-01 00:00", "UTC")
    hourly = Recurrence("rrule", "FREQ=HOURLY;BYMINUTE=0;BYSECOND=0", "UTC", begin)
    now = at("2026-01-01 00:00", "UTC")
    assert checked(hourly, now).after(now) == now + 3_600


@pytest.mark.parametrize(
    ("said", "due"),
    [
        ("7am", "2026-12-01 07:00 CET"),
        ("7 pm", "2026-11-30 19:00 CET"),
        ("12:30am", "2026-12-01 00:30 CET"),
        ("tomorrow 7am", "2026-12-01 07:00 CET"),
        ("Tomorrow at 19:00", "2026-12-01 19:00 CET"),
        ("today 13:00", "2026-11-30 13:00 CET"),
    ],
)
def test_times_are_read_as_people_write_them(said, due):
    noon = at("2026-11-30 12:00", "Europe/Berlin")
    assert clock(recurrence_of(noon, "Europe/Berlin", at=said).begins_at, "Europe/Berlin") == due


@pytest.mark.parametrize("said", ["7", "13pm", "0am", "yesterday 7am", "tomorrow", "today 11:00"])
def test_what_is_no_time_or_past_is_refused(said):
    noon = at("2026-11-30 12:00", "Europe/Berlin")
    with pytest.raises(RequestError, match=r"is no time|is past"):
        recurrence_of(noon, "Europe/Berlin", at=said)
