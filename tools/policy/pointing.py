"""Which place a person pointed at: one whose links they meant, though others write in it."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from tools.declaration import Tool

_BEFORE, _BEHIND = "(\"'", ")\"'.,;:!?"
"""What may stand around a number; nothing that is part of one, as a sign is, or a dot before it."""


def points_at(request: str, tool: Tool, args: Any) -> bool:
    """Tell whether a request names what a call reads: every word and number of its arguments is the person's.

    An argument that is left as its tool has it says nothing, and one that is neither text nor number was
    never said. A tool that reaches out reads no such place: anybody writes on the open web.
    """
    if tool.effect != "read" or tool.outbound or not isinstance(args, Mapping):
        return False
    usual = {name: schema.get("default") for name, schema in tool.parameters.get("properties", {}).items()}
    chosen = {name: value for name, value in args.items() if value != usual.get(name)}
    words = _words(" ".join(texts_of(chosen)))
    others = (leaf for leaf in _leaves(list(chosen.values())) if not isinstance(leaf, str))
    return bool(words) and words <= _words(request) and all(_says(request, other) for other in others)


def texts_of(args: Any) -> list[str]:
    """Return every text in a call's arguments that is not empty; none where they have no names."""
    leaves = _leaves(list(args.values())) if isinstance(args, Mapping) else ()
    return [leaf for leaf in leaves if isinstance(leaf, str) and leaf]


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        yield from _leaves([*value.keys(), *value.values()])
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _leaves(each)
    else:
        yield value


def _words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", text.casefold()))


def _says(request: str, value: Any) -> bool:
    """Tell whether a value is a number that stands in the request, digit for digit."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return str(value) in {part.lstrip(_BEFORE).rstrip(_BEHIND) for part in request.split()}
