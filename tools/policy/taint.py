"""Taint: untrusted content in a turn, and the links still trusted."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from base.texts import words_of
from tools.declaration import Tool

_LINK = re.compile(
    r"""https?://[^\s<>"'`]+"""
    r"""|(?<![\w@./:-])(?:[\w-]+\.)+[a-z]{2,}(?::\d+)?(?:[/?][^\s<>"'`]*)?""",
    re.IGNORECASE,
)
_AFTERWARDS = ".,;:!?)]}*_"
"""What may stand behind a link in a sentence without being part of it."""
_REMEMBERED_TEXTS = 4_096
"""Texts whose links are parsed once: each round asks for those of all that the person ever said."""
_BEFORE, _BEHIND = "(\"'", ")\"'.,;:!?"
"""What may stand around a number; nothing that is part of one, as a sign is, or a dot before it."""


@dataclass(frozen=True, slots=True)
class Taint:
    """What untrusted content a turn had read when a call was made."""

    sources: frozenset[str] = frozenset()
    """The tools that brought it; empty: there is none."""
    trusted_links: frozenset[str] = frozenset()
    """Links that the person gave or pointed at, or a trusted source named, each as `links_in` writes it."""


UNTAINTED = Taint()


class ReadResult(NamedTuple):
    """A call's result, as taint looks at it."""

    name: str
    tool: Tool | None
    """None where there is no such tool any more."""
    args: Any
    text: str
    succeeded: bool
    untrusted: bool


def taint_after(rounds: Sequence[Sequence[ReadResult]], request: str, before: Taint = UNTAINTED) -> Taint:
    """Return the taint of a turn after these rounds of results.

    To the links trusted before come those of results of calls made before the untrusted content came: of
    trusted ones, and of those that read a place which the request names, as in "open the link in the general
    channel". A later call's result may echo what that content put into it. So may a trusted one's in a turn
    that began tainted; there its call's arguments have to be the request's words, too.

    Args:
        rounds: the turn's, each with its results.
        request: the person's words.
        before: the taint that the turn began with, and the links that were trusted then.
    """
    brought = [{result.name or "a tool" for result in results if result.untrusted} for results in rounds]
    sources = before.sources.union(*brought)
    if not sources:
        return UNTAINTED
    clean = next((number for number, names in enumerate(brought) if names), len(rounds))
    links = [
        links_in(result.text)
        for results in rounds[: clean + 1]
        for result in results
        if _is_vouched_for(result, request, before)
    ]
    return Taint(sources, before.trusted_links.union(*links))


def _is_vouched_for(result: ReadResult, request: str, before: Taint) -> bool:
    """Tell whether a result's links count as the person's."""
    tool = result.tool
    if not result.succeeded or tool is None:
        return False
    if not result.untrusted and not before.sources:
        return True
    # Names of files and tools, and memories, are no place that one points at.
    return tool.untrusted == result.untrusted and points_at(request, tool, result.args)


@lru_cache(maxsize=_REMEMBERED_TEXTS)
def links_in(text: str) -> frozenset[str]:
    """Return every link in a text, in all its forms.

    As written, and with the host in small letters and without a usual port; with and without fragment, final
    slash and trailing punctuation; without the scheme.
    """
    written = [match[0] for match in _LINK.finditer(text)]
    both = {*written, *(each.rstrip(_AFTERWARDS) for each in written)}
    return frozenset(form for each in both for form in _forms_of(each))


def _forms_of(link: str) -> Iterator[str]:
    """Yield a link's forms; none where it holds a password."""
    written = re.sub("^https?://", "", link, flags=re.IGNORECASE)
    host = re.split("[/?#]", written, maxsplit=1)[0]
    if not host or "@" in host:
        return
    path = written[len(host) :] or "/"
    for form in (written, re.sub(":(80|443)$", "", host.lower()) + path):
        plain = form.partition("#")[0]
        yield from (form, plain, plain.removesuffix("/"))


def carries_data(args: Any, tool: Tool, links: Collection[str]) -> bool:
    """Tell whether a call says more than which links to read.

    Beside them it may leave arguments as its tool has them, and have one that is a yes, a no or empty. A link
    has to be one of these to the letter: capitals, slashes and a fragment could be made to say something.
    """
    if not isinstance(args, Mapping) or not args.keys() <= tool.parameters.get("properties", {}).keys():
        return True
    chosen = _chosen(args, tool).values()
    several = [value for value in chosen if not isinstance(value, bool) and value not in (None, "", [])]
    texts = [each for value in several for each in (value if isinstance(value, list) else [value])]
    given = {text for text in texts if isinstance(text, str) and re.sub("^https?://", "", text) in links}
    return not texts or len(given) < len(texts) or len(several) + 1 < len(chosen)


def points_at(request: str, tool: Tool, args: Any) -> bool:
    """Tell whether a request names what a call reads.

    Every word and number of its arguments is the person's. An argument that is left as its tool has it says
    nothing, and one that is neither text nor number was never said. A tool that reaches out reads no such
    place: anybody writes on the open web.
    """
    if tool.effect != "read" or tool.outbound or not isinstance(args, Mapping):
        return False
    chosen = _chosen(args, tool)
    leaves = list(_leaves(list(chosen.values())))
    words = words_of(" ".join(leaf for leaf in leaves if isinstance(leaf, str)))
    others = (leaf for leaf in leaves if not isinstance(leaf, str))
    return bool(words) and words <= words_of(request) and all(_says(request, other) for other in others)


def _chosen(args: Mapping[str, Any], tool: Tool) -> dict[str, Any]:
    """Return the arguments that are not left as their tool has them."""
    usual = {name: schema.get("default") for name, schema in tool.parameters.get("properties", {}).items()}
    return {name: value for name, value in args.items() if value != usual.get(name)}


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
