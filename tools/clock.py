"""The time, anywhere."""

from datetime import datetime
from difflib import get_close_matches
from functools import cache
from typing import Annotated
from zoneinfo import ZoneInfo, available_timezones

from tools.declaration import ToolFailure, tool


@tool(effect="read", role="guest")
def get_time(
    timezone: Annotated[str, "IANA name such as Asia/Tokyo, or a city in it such as Tokyo"] = "UTC",
) -> str:
    """Tell the current date, time and weekday in a time zone."""
    key = _find(timezone)
    now = datetime.now(ZoneInfo(key))
    offset = now.isoformat()[-6:]
    return f"{now:%Y-%m-%d %H:%M:%S %Z} ({key}, UTC{offset}), {now:%A}"


def _find(words: str) -> str:
    wanted = _city_key(words.partition(",")[0]) or "utc"
    known = _zones()
    if wanted in known:
        return known[wanted]
    close = sorted({known[name] for name in get_close_matches(wanted, known, n=5, cutoff=0.7)})
    hint = f" Closest: {', '.join(close)}." if close else ""
    raise ToolFailure(f"There is no time zone {words!r}.{hint} Use an IANA name such as Europe/Paris.")


def _city_key(words: str) -> str:
    return "_".join(words.casefold().split())


@cache
def _zones() -> dict[str, str]:
    """Return the zones' keys, by themselves and by their cities."""
    # The shortest of a city wins.
    longest_first = sorted(available_timezones(), key=lambda key: (-len(key), key))
    cities = {_city_key(key.rpartition("/")[2]): key for key in longest_first}
    return cities | {_city_key(key): key for key in longest_first}


TOOLS = (get_time,)
