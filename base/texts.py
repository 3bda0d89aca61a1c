"""Texts made fit for storage, names compared, numbers put in words."""

import json
import re
from datetime import UTC, datetime
from typing import Any


def mended(text: str) -> str:
    """Return the text as files, databases and requests can hold it.

    Each lone surrogate, which is half a character, and each NUL becomes the mark U+FFFD.
    """
    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return whole.replace("\0", "\N{REPLACEMENT CHARACTER}")


def as_text(answer: Any) -> str:
    """Return an answer as JSON, which is understood as the answer itself.

    LangGraph drops None and {}, takes some objects for its own, and has no room for large integers.
    """
    try:
        return mended(json.dumps(answer, default=repr, ensure_ascii=False))
    except (TypeError, ValueError, RecursionError):
        return ""


def one_line(text: str, most: int) -> str:
    """Return a text as one line of at most so many characters."""
    return " ".join(text.split())[:most]


def moment(at: float) -> str:
    """Return Unix seconds as words, in UTC."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d at %H:%M:%S UTC")


def words_of(text: str) -> frozenset[str]:
    """Return the words and numbers of a text, whatever their case."""
    return frozenset(re.findall(r"\w+", text.casefold()))


FILLERS = words_of(
    """a about all an and any are as at be by can could do does every for from get has have how i if in
    into is it its make may me more my need no not of on one or our please should so some than that
    the them then there these they this to up use want was we what when where which who will with
    would you your"""
)
"""Words that say nothing about what is looked for."""


def name_key(name: str) -> str:
    """Return a name without case and separators, for comparison."""
    return re.sub(r"[^a-z0-9]", "", name.casefold())


def count(number: float, thing: str) -> str:
    """Return a number of things, such as `1 round` or `1,200 tokens`."""
    whole = f"{number:,.0f}" if number == int(number) else f"{number:g}"
    return f"{whole} {thing}{'' if number == 1 else 's'}"


def dollars(amount: float) -> str:
    """Return US dollars, of less than one four digits after the point."""
    return f"${amount:,.2f}" if amount >= 1 or not amount else f"${amount:.4f}"


def local_time(at: float) -> str:
    """Return a time, in seconds since the epoch, on this machine's clock."""
    return f"{datetime.fromtimestamp(at, UTC).astimezone():%Y-%m-%d %H:%M}"
