"""Common rules in words, of which each says the very times at which it is due; the others as they are."""

import random
import re
from datetime import UTC, datetime, timedelta
from itertools import islice

import pytest

from base.errors import RequestError
from schedules.recurrence import Recurrence, checked
from schedules.times import words_for

NOON = datetime(2026, 11, 29, 12, 7, tzinfo=UTC)
"""A Sunday."""
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
SEED = 20261129


def ruled(rule: str, kind: str = "", zone: str = "UTC") -> Recurrence:
    return Recurrence(kind or ("rrule" if "=" in rule else "cron"), rule, zone, NOON.timestamp())


def meant(words: str, number: int) -> list[float]:
    """Return the next times that words mean, to whoever reads them."""
    on, _, at = words.partition(" at ")
    if found := re.fullmatch(r"every (?:(\d+) )?minutes? by the clock", words):
        shown = {f":{minute:02}" for minute in range(0, 60, int(found[1] or 1))}
    elif words.startswith("every hour by the clock, at :"):
        shown = {words[-3:]}
    else:
        shown = set(re.findall(r"\d\d:\d\d", at))
    first, span, last = on.partition(" to ")
    days = {day.rstrip("s") for day in re.split(", | and ", on)}
    days = set(DAYS[DAYS.index(first) : DAYS.index(last) + 1]) if span else days & set(DAYS)
    of_month = re.findall(r"on day (\d+) of each month", on)
    assert days or of_month or on.startswith("every day") or "by the clock" in on, words
    clocks = [timedelta(minutes=at) for at in range(1_440)]
    clocks = [
        at
        for at in clocks
        if {f"{NOON.replace(hour=0, minute=0) + at:%H:%M}"[cut:] for cut in (0, 2)} & shown
    ]
    times: list[float] = []
    day = NOON.replace(hour=0, minute=0)
    while len(times) < number:
        if (not days or f"{day:%A}" in days) and (not of_month or day.day == int(of_month[0])):
            times += [(day + at).timestamp() for at in clocks if day + at > NOON]
        day += timedelta(days=1)
    return times[:number]


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("FREQ=WEEKLY;BYDAY=MO;BYHOUR=7;BYMINUTE=0", "Mondays at 07:00"),
        ("30 2 * * *", "every day at 02:30"),
        ("0 7 * * 1-5", "Monday to Friday at 07:00"),
        ("0 9,17 * * sat,0", "Saturdays and Sundays at 09:00 and 17:00"),
        ("*/30 * * * *", "every 30 minutes by the clock"),
        ("5 * * * *", "every hour by the clock, at :05"),
        ("0 8 1 * *", "on day 1 of each month at 08:00"),
        ("FREQ=DAILY", "every day at 12:07"),
        ("rrule:freq=weekly;byhour=6", "Sundays at 06:07"),
        ("FREQ=MONTHLY;BYMONTHDAY=15;BYHOUR=9;BYMINUTE=0", "on day 15 of each month at 09:00"),
    ],
)
def test_common_rules_are_said_in_words_that_mean_their_very_times(rule: str, words: str):
    recurrence = checked(ruled(rule), NOON.timestamp())
    assert words_for(recurrence) == words
    assert meant(words, 40) == list(islice(recurrence.times_after(NOON.timestamp()), 40))


@pytest.mark.parametrize(
    "rule",
    [
        *("0 7 * * 1#1", "0 7 L * *", "0 7 31 * *", "0 7 1 * 1", "0 7 * 12 *", "*/7 * * * *", "0 */5 * * *"),
        *("FREQ=WEEKLY;INTERVAL=2;BYDAY=MO", "FREQ=DAILY;COUNT=3", "FREQ=DAILY;UNTIL=20300101T000000Z"),
        *(
            "FREQ=MONTHLY;BYDAY=1MO",
            "FREQ=MONTHLY;BYMONTHDAY=-1",
            "FREQ=MONTHLY;BYMONTHDAY=31",
            "FREQ=YEARLY",
        ),
        *(
            "FREQ=DAILY;BYMONTH=12",
            "FREQ=WEEKLY;BYDAY=MO,TU;BYSETPOS=1",
            "FREQ=HOURLY",
            "FREQ=DAILY;BYSECOND=30",
        ),
    ],
)
def test_of_what_words_would_be_wrong_the_rule_stands_as_it_is(rule: str):
    assert words_for(checked(ruled(rule), NOON.timestamp())) == rule


def test_no_rule_that_is_said_in_words_is_due_at_another_time():
    chance, said = random.Random(SEED), 0

    def some(*choices: str) -> str:
        return chance.choice(choices)

    for _ in range(250):
        minute = some("0", "*/15", "*", "5", "0,30", "10-12", "59", "*/7")
        hour = some("*", "0", "23", "7,19", "8-10", "*/6")
        cron = f"{minute} {hour} {some('*', '*', '1', '28', '31', '1,15')} {some('*', '*', '12')} "
        cron += some("*", "*", "1", "1-5", "0", "7", "5-7", "MON,FRI", "sat-sun", "2,4,6", "0-6", "1#2")
        parts = [f"FREQ={some('DAILY', 'WEEKLY', 'MONTHLY', 'HOURLY', 'YEARLY')}"]
        for name, choices in {
            "BYDAY": ("MO", "SU", "MO,TU,WE,TH,FR", "SA,SU", "1MO", "MO,WE"),
            "BYHOUR": ("0", "7", "7,19", "1,2,3,4,5"),
            "BYMINUTE": ("0", "30", "0,30"),
            "BYMONTHDAY": ("1", "31", "-1", "1,15"),
            "INTERVAL": ("1", "2"),
            "BYSECOND": ("0", "30"),
            "WKST": ("SU",),
            "COUNT": ("500",),
        }.items():
            if chance.random() < 0.4:
                parts.append(f"{name}={chance.choice(choices)}")
        for rule in (cron, ";".join(parts)):
            try:
                recurrence = checked(ruled(rule), NOON.timestamp())
            except RequestError:
                continue
            if (words := words_for(recurrence)) != rule:
                said += 1
                assert meant(words, 9) == list(islice(recurrence.times_after(NOON.timestamp()), 9)), rule
    assert said > 30


def test_the_times_of_a_rule_are_those_of_its_persons_clock():
    assert words_for(ruled("FREQ=DAILY", zone="Asia/Kolkata")) == "every day at 17:37"
