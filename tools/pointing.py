"""Which place a person pointed at: one whose links they meant, though others write in it."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from tools.declaration import Tool


def points_at(request: str, tool: Tool, args: Any) -> bool:
    """Tell whether a request names what a call reads: every word of its arguments is the person's own.

    A tool that reaches out reads no such place: anybody writes on the open web.
    """
    words = _words(" ".join(texts_of(args)))
    return tool.effect == "read" and not tool.outbound and bool(words) and words <= _words(request)


def texts_of(args: Any) -> list[str]:
    """Return every text in a call's arguments that is not empty; none where they have no names."""
    return list(_texts(list(args.values()))) if isinstance(args, Mapping) else []


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str) and value:
        yield value
    elif isinstance(value, Mapping):
        yield from _texts([*value.keys(), *value.values()])
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _texts(each)


def _words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", text.casefold()))
