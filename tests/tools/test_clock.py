import re
from datetime import UTC, datetime, timedelta

import pytest


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
        ("", "UTC", "+00:00"),
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


async def test_without_a_zone_it_is_utc(call):
    told = (await call("get_time")).text
    assert "(UTC, UTC+00:00)" in told
    assert abs(datetime.fromisoformat(told[:19] + "+00:00") - datetime.now(UTC)) < timedelta(minutes=1)


async def test_an_unknown_zone_is_answered_with_the_closest_ones(call):
    outcome = await call("get_time", timezone="Tokio")
    assert outcome.status == "failed"
    assert "no time zone 'Tokio'. Closest: Asia/Tokyo." in outcome.text


@pytest.mark.parametrize("words", ["../../etc/passwd", "/etc/localtime", "Mars", "a\0b", "x" * 5000])
async def test_no_name_of_a_zone_leads_to_another_file(call, words):
    outcome = await call("get_time", timezone=words)
    assert outcome.status == "failed"
    assert "no time zone" in outcome.text
