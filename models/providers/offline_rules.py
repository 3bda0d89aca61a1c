"""The requests that the offline planner knows, and the tool calls that they mean."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

EXAMPLES = (
    "what time is it in Tokyo",
    "what is 12*7",
    "list files",
    "read notes.txt",
    "search files for milk",
    'write "buy milk" to notes.txt',
    "delete notes.txt",
    "remember that the bin goes out on Monday",
    "what do you remember about the bin",
)


@dataclass(frozen=True, slots=True)
class Step:
    """One tool call that a request asks for."""

    tool: str
    args: dict[str, Any]


_LONGEST = 10_000
"""Characters; a longer text is not taken for a request, so that matching stays quick."""

# Typographic quotes and signs, as phones write them, stand escaped.
_QUOTED = r"\"[^\"]*\"|\u201c[^\u201d]*\u201d|\u2018[^\u2019]*\u2019|`[^`]*`|(?<!\w)'[^']*'(?!\w)"
_IS = r"(?:['\u2019]s| is)"
_SIGNS = r"+\-*/%^()\u00d7\u00f7\u2212"
_PATH = rf"(?P<path>{_QUOTED}|\.\.?/?|\S*[^\s.,;:!?])"
_FILE = rf"(?:(?:the|my) )?(?:file )?{_PATH}"
_JOINT = re.compile(rf"{_QUOTED}|[,;.]?\s+(?P<word>and then|and|then)\s+", re.IGNORECASE)
_POLITE = re.compile(r"^(?:(?:please|can you|could you|would you),? )+", re.IGNORECASE)
_PLEASE = re.compile(r",? please$", re.IGNORECASE)

_PATTERNS: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (tool, re.compile(body, re.IGNORECASE | re.DOTALL))
    for tool, body in (
        ("get_time", rf"(?:what time is it|what{_IS} the time)(?: now)?(?: in (?P<timezone>.+?))?(?: now)?"),
        ("calculate", rf"(?:what{_IS}|how much is) (?P<expression>[-+(\d][\d\s.{_SIGNS}]*[\d)]|\d)"),
        ("calculate", r"(?:calculate|compute) (?P<expression>.*\d.*)"),
        ("list_files", rf"(?:list|show)(?: me)?(?: all)?(?: the| my)? files(?: in {_PATH})?"),
        (
            "search_files",
            rf"search(?: in)?(?: all)?(?: the| my)?(?: files)?(?: in {_PATH})? for (?P<query>.+)",
        ),
        ("read_file", rf"read {_FILE}"),
        ("write_file", rf"write (?P<content>{_QUOTED}|.+?) (?:in)?to {_FILE}"),
        ("delete_file", rf"(?:delete|remove) {_FILE}"),
        ("remember", r"remember(?: that)? (?P<text>.+)"),
        ("recall", r"what do you (?:remember|know) about (?P<query>.+)"),
    )
)

_USE = re.compile(r"use `?(?P<tool>[\w-]+)`?(?: with)? (?P<args>\{.*\})", re.IGNORECASE | re.DOTALL)

_DEFAULTS = {"get_time": {"timezone": "UTC"}, "list_files": {"path": "."}, "search_files": {"path": "."}}


def rounds_of(request: str) -> list[list[Step]]:
    """Return the rounds that a request asks for, each a list of parallel calls; empty if not understood.

    `and` joins calls of one round, `then` begins the next. Both are only words inside quotes,
    and where what follows them is no request of its own (`search files for milk and honey`).
    """
    if len(request) > _LONGEST:
        return []
    rounds: list[list[Step]] = [[]]
    for joint, text in _parts(request):
        step = _step(text)
        if step is None:
            return []
        if joint.endswith("then"):
            rounds.append([])
        rounds[-1].append(step)
    return rounds


def _parts(request: str) -> list[tuple[str, str]]:
    parts: list[tuple[str, str]] = []
    for joint, gap, text in _pieces(request.strip()):
        if parts and _step(text) is None:
            before, words = parts[-1]
            parts[-1] = (before, words + gap + text)
        else:
            parts.append((joint, text))
    return parts


def _pieces(request: str) -> Iterator[tuple[str, str, str]]:
    joint, gap, start = "", "", 0
    for match in _JOINT.finditer(request):
        if match["word"]:
            yield joint, gap, request[start : match.start()]
            joint, gap, start = match["word"].lower(), match[0], match.end()
    yield joint, gap, request[start:]


def _step(text: str) -> Step | None:
    whole = _POLITE.sub("", text, count=1)
    if named := _USE.fullmatch(_bare(whole)):
        return _named(named["tool"], named["args"])
    for tool, pattern in _PATTERNS:
        # The whole second, for a path that is a dot.
        if match := pattern.fullmatch(_bare(whole)) or pattern.fullmatch(whole):
            given = {name: _unquoted(value) for name, value in match.groupdict().items() if value}
            return Step(tool, {**_DEFAULTS.get(tool, {}), **given})
    return None


def _named(tool: str, text: str) -> Step | None:
    """Return the call of any tool by its name, with its arguments as JSON."""
    try:
        args = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return Step(tool, args)


def _bare(text: str) -> str:
    return _PLEASE.sub("", text.rstrip(" .!?")).rstrip(" .!?")


def _unquoted(value: str) -> str:
    return value[1:-1] if re.fullmatch(_QUOTED, value) else value
