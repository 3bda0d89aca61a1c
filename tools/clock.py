"""The tool get_time: the time, anywhere."""

import re
import unicodedata
from datetime import datetime, timedelta, tzinfo
from datetime import timezone as fixed
from difflib import get_close_matches
from functools import cache
from typing import Annotated
from zoneinfo import ZoneInfo, available_timezones

from base.texts import is_blank
from tools.declaration import Here, ToolFailure, tool

_OFFSET = re.compile(
    r"(?:utc|gmt)? *(?P<sign>[-+\u2212])(?P<hours>0?\d|1[0-4])(?::?(?P<minutes>[0-5]\d))?", re.IGNORECASE
)
"""Hours ahead of UTC as people write them; in IANA's Etc/GMT-2 the sign is the other way round."""


@tool(effect="read", role="guest")
def get_time(
    here: Here,
    timezone: Annotated[
        str, "IANA name such as Asia/Tokyo, a city in it, or UTC+2; empty: the person's own"
    ] = "",
) -> str:
    """Tell the current date, time and weekday in a time zone."""
    if is_blank(timezone):
        zone: tzinfo = here.settings.zone(here.user)
    elif offset := _OFFSET.fullmatch(timezone.strip()):
        ahead = timedelta(hours=int(offset["hours"]), minutes=int(offset["minutes"] or 0))
        zone = fixed(ahead if offset["sign"] == "+" else -ahead, timezone.strip())
    else:
        zone = ZoneInfo(_find(timezone))
    now = datetime.now(zone)
    return f"{now:%Y-%m-%d %H:%M:%S %Z} ({zone}, UTC{now.isoformat()[-6:]}), {now:%A}"


def _find(words: str) -> str:
    wanted = _city_key(words.partition(",")[0])
    known = _zones()
    if wanted in known:
        return known[wanted]
    near = {known[name] for name in get_close_matches(wanted, known, n=5, cutoff=0.7)}
    close = sorted(name for name in near if "/GMT" not in name)  # whose signs are the other way round
    hint = f" Closest: {', '.join(close)}." if close else ""
    raise ToolFailure(f"There is no time zone {words!r}.{hint} Use an IANA name such as Europe/Paris.")


def _city_key(words: str) -> str:
    plain = "".join(char for char in unicodedata.normalize("NFKD", words) if not unicodedata.combining(char))
    return "_".join(plain.casefold().split())


@cache
def _zones() -> dict[str, str]:
    """Return the zones' keys, by themselves and by their cities."""
    # The shortest of a city wins.
    longest_first = sorted(available_timezones(), key=lambda key: (-len(key), key))
    cities = {_city_key(key.rpartition("/")[2]): key for key in longest_first}
    return cities | {_city_key(key): key for key in longest_first}


TOOLS = (get_time,)
