import re
from datetime import UTC, datetime, timedelta

import pytest

from base.errors import ConfigurationError


@pytest.mark.parametrize(
    ("words", "key", "offset"),
    [
        ("UTC", "UTC", "+00:00"),
        ("Asia/Tokyo", "Asia/Tokyo", "+09:00"),
        ("asia/tokyo", "Asia/Tokyo", "+09:00"),
        ("Tokyo", "Asia/Tokyo", "+09:00"),
        (" tokyo, Japan ", "Asia/Tokyo", "+09:00"),
        ("Kolkata", "Asia/Kolkata", "+05:30"),
        ("buenos aires", "America/Buenos_Aires", "-03:00"),
        ("", "Pacific/Pago_Pago", "-11:00"),
        ("GMT+2", "GMT+2", "+02:00"),
        ("gmt-3", "gmt-3", "-03:00"),
        ("UTC+5:30", "UTC+5:30", "+05:30"),
        ("utc+0545", "utc+0545", "+05:45"),
        ("UTC\u221203:30", "UTC\u221203:30", "-03:30"),
        ("GMT+14", "GMT+14", "+14:00"),
        ("+02:00", "+02:00", "+02:00"),
        ("-9", "-9", "-09:00"),
        ("GMT+0", "GMT+0", "+00:00"),
        ("Etc/GMT-2", "Etc/GMT-2", "+02:00"),
        ("etc/gmt+2", "Etc/GMT+2", "-02:00"),
        ("GMT", "GMT", "+00:00"),
        ("S\u00e3o Paulo", "America/Sao_Paulo", "-03:00"),
    ],
)
async def test_the_time_comes_with_its_zone_offset_and_weekday(call, words, key, offset):
    before = datetime.now(UTC).replace(microsecond=0)
    text = (await call("get_time", timezone=words)).text
    found = re.fullmatch(
        r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) \S+ \((\S+), UTC([+-]\d\d:\d\d)\), (\w+day)", text
    )
    assert found, text
    told = datetime.fromisoformat(found[1] + found[3])
    assert before <= told <= datetime.now(UTC)
    assert (found[2], found[3], found[4]) == (key, offset, f"{told:%A}")


CALENDAR = '[tools.calendar]\nurl = "http://127.0.0.1:1/"\n'


@pytest.mark.parametrize(
    ("toml", "zone"),
    [
        (
            f'{CALENDAR}timezone = "Asia/Tokyo"\n[users.ada]\ntimezone = "Pacific/Apia"',
            "Pacific/Apia, UTC+13:00",
        ),
        (
            f'{CALENDAR}timezone = "Asia/Tokyo"\n[users.ada]\n[users.bob]\ntimezone = "Pacific/Apia"',
            "Asia/Tokyo, UTC+09:00",
        ),
        (f'{CALENDAR}[users.ada]\nrole = "user"', "Pacific/Pago_Pago, UTC-11:00"),
    ],
)
async def test_without_a_zone_it_is_the_persons_then_the_calendars_then_the_machines(
    household, call_in, toml, zone
):
    told = (await call_in(household(toml, TZ="Pacific/Pago_Pago"), "get_time")).text
    assert f"({zone})" in told
    when = datetime.fromisoformat(told[:19] + zone[-6:])
    assert abs(when - datetime.now(UTC)) < timedelta(minutes=1)


@pytest.mark.parametrize("tz", ["", ":Asia/Tokyo", "Nowhere", "\0"])
async def test_a_variable_tz_that_names_no_zone_stops_nothing(household, call_in, tz):
    assert (await call_in(household("", TZ=tz), "get_time")).status == "executed"


def test_a_persons_zone_that_does_not_exist_is_refused_at_the_start(household):
    with pytest.raises(ConfigurationError, match=r"users\.ada.*there is no time zone 'GMT\+2'"):
        household('[users.ada]\ntimezone = "GMT+2"')


async def test_an_unknown_zone_is_answered_with_the_closest_ones(call):
    outcome = await call("get_time", timezone="Tokio")
    assert outcome.status == "failed"
    assert "no time zone 'Tokio'. Closest: Asia/Tokyo." in outcome.text


@pytest.mark.parametrize("words", ["GMT+5.5", "GMT+2 hours", "UTC+2h", "gmt +5 (Karachi)"])
async def test_no_zone_with_the_sign_the_other_way_round_is_suggested(call, words):
    assert "GMT" not in (await call("get_time", timezone=words)).text.partition("Closest")[2]


@pytest.mark.parametrize(
    "words",
    [
        "../../etc/passwd",
        "UTC+15",
        "GMT+2:75",
        "UTC+",
        "Etc/UTC+2",
        "/etc/localtime",
        "Mars",
        "a\0b",
        "x" * 5000,
    ],
)
async def test_no_name_of_a_zone_leads_to_another_file(call, words):
    outcome = await call("get_time", timezone=words)
    assert outcome.status == "failed"
    assert "no time zone" in outcome.text
