"""Taint: untrusted content in a turn, and the links still trusted."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import httpx

from base.texts import words_of
from tools.declaration import Tool

_LINK = re.compile(
    r"""https?://[^\s<>"'`]+"""
    r"""|(?<![\w@./:-])(?:[\w-]+\.)+[a-z]{2,}(?::\d+)?(?:[/?][^\s<>"'`]*)?""",
    re.IGNORECASE,
)
_AFTERWARDS = ".,;:!?)]}*_"
"""What may stand behind a link in a sentence without being part of it."""
_REMEMBERED = 4_096
"""Texts whose links are parsed once: each round asks for those of all that the person ever said."""
_BEFORE, _BEHIND = "(\"'", ")\"'.,;:!?"
"""What may stand around a number; nothing that is part of one, as a sign is, or a dot before it."""


@dataclass(frozen=True, slots=True)
class Taint:
    """What untrusted content a turn had read when a call was made."""

    sources: frozenset[str] = frozenset()
    """The tools that brought it; empty: there is none."""
    trusted_links: frozenset[str] = frozenset()
    """Links that the person gave or pointed at, or a trusted source named."""


UNTAINTED = Taint()


@lru_cache(maxsize=_REMEMBERED)
def links_in(text: str) -> frozenset[str]:
    """Return every link in a text, with and without trailing punctuation."""
    written = [match[0] for match in _LINK.finditer(text)]
    found = {link_of(each) for each in {*written, *(each.rstrip(_AFTERWARDS) for each in written)}}
    return frozenset(each for each in found if each)


def link_of(text: str) -> str | None:
    """Return a link as httpx would request it, in one form.

    The scheme, the fragment and a final slash are left out.

    Returns:
        None where it is no link, or one that holds a password.
    """
    text = text.strip()
    try:
        url = httpx.URL(text if "://" in text else f"https://{text}")
        host = url.raw_host.decode()
    except (httpx.InvalidURL, TypeError, ValueError):
        return None
    if url.scheme not in {"http", "https"} or not host or url.userinfo:
        return None
    port = f":{url.port}" if url.port else ""
    return f"{host}{port}{url.raw_path.decode()}".rstrip("/")


def points_at(request: str, tool: Tool, args: Any) -> bool:
    """Tell whether a request names what a call reads.

    Every word and number of its arguments is the person's. An argument that is left as its tool has it says
    nothing, and one that is neither text nor number was never said. A tool that reaches out reads no such
    place: anybody writes on the open web.
    """
    if tool.effect != "read" or tool.outbound or not isinstance(args, Mapping):
        return False
    usual = {name: schema.get("default") for name, schema in tool.parameters.get("properties", {}).items()}
    chosen = {name: value for name, value in args.items() if value != usual.get(name)}
    words = words_of(" ".join(texts_of(chosen)))
    others = (leaf for leaf in _leaves(list(chosen.values())) if not isinstance(leaf, str))
    return bool(words) and words <= words_of(request) and all(_says(request, other) for other in others)


def texts_of(args: Any) -> list[str]:
    """Return every text in a call's arguments that is not empty."""
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


def _says(request: str, value: Any) -> bool:
    """Tell whether a number stands in the request, digit for digit."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return str(value) in {part.lstrip(_BEFORE).rstrip(_BEHIND) for part in request.split()}
