"""The phrases that the offline models understand, and what they answer."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Phrase:
    """A request for a tool, and what is said of its call."""

    tool: str
    example: str
    patterns: tuple[str, ...]
    """Regular expressions; their named groups are the tool's arguments."""
    wish: str
    """What the planner would like to do."""
    done: str
    """What was done; `result` is what came of it, `block` the same set apart."""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """Arguments where the request names none."""


@dataclass(frozen=True, slots=True)
class OfflineCall:
    """A call that a request asks for, and what became of it."""

    tool: str
    args: dict[str, Any]
    status: str = "proposed"
    """After that `executed`, `failed`, `denied`, `expired`, `superseded` or `unknown`."""
    result: str = ""


# Typographic quotes and signs, as phones write them, stand escaped.
_QUOTED = r"\"[^\"]*\"|\u201c[^\u201d]*\u201d|\u2018[^\u2019]*\u2019|`[^`]*`|(?<!\w)'[^']*'(?!\w)"
_IS = r"(?:['\u2019]s| is)"
_SIGNS = r"+\-*/%^()\u00d7\u00f7\u2212"
_PATH = rf"(?P<path>{_QUOTED}|\.\.?/?|\S*[^\s.,;:!?])"
_FILE = rf"(?:(?:the|my) )?(?:file )?{_PATH}"

PHRASES = (
    Phrase(
        "get_time",
        "what time is it in Tokyo",
        (rf"(?:what time is it|what{_IS} the time)(?: now)?(?: in (?P<timezone>.+?))?(?: now)?",),
        wish="look up the time",
        done="It is {result}.",
    ),
    Phrase(
        "calculate",
        "what is 12*7",
        (
            rf"(?:what{_IS}|how much is) (?P<expression>[-+(\d][\d\s.{_SIGNS}]*[\d)]|\d)",
            r"(?:calculate|compute) (?P<expression>.*\d.*)",
        ),
        wish="calculate {expression}",
        done="{expression} = {result}",
    ),
    Phrase(
        "list_files",
        "list files",
        (rf"(?:list|show)(?: me)?(?: all)?(?: the| my)? files(?: in {_PATH})?",),
        wish="list the files in `{path}`",
        done="The files in `{path}`:{block}",
        defaults={"path": "."},
    ),
    Phrase(
        "read_file", "read notes.txt", (rf"read {_FILE}",), wish="read `{path}`", done="`{path}` says:{block}"
    ),
    Phrase(
        "search_files",
        "search files for milk",
        (rf"search(?: in)?(?: all)?(?: the| my)?(?: files)?(?: in {_PATH})? for (?P<query>.+)",),
        wish="search the files for “{query}”",
        done="What I found for “{query}”:{block}",
        defaults={"path": "."},
    ),
    Phrase(
        "write_file",
        'write "buy milk" to notes.txt',
        (rf"write (?P<content>{_QUOTED}|.+?) (?:in)?to {_FILE}",),
        wish="write “{content}” to `{path}`",
        done="I wrote “{content}” to `{path}`.",
    ),
    Phrase(
        "delete_file",
        "delete notes.txt",
        (rf"(?:delete|remove) {_FILE}",),
        wish="delete `{path}`",
        done="I deleted `{path}`.",
    ),
    Phrase(
        "remember",
        "remember that the bin goes out on Monday",
        (r"remember(?: that)? (?P<text>.+)",),
        wish="remember “{text}”",
        done="I'll remember: {text}.",
    ),
    Phrase(
        "recall",
        "what do you remember about the bin",
        (r"what do you (?:remember|know) about (?P<query>.+)",),
        wish="recall what I know about {query}",
        done="What I remember about {query}:{block}",
    ),
    Phrase(
        "schedule_task",
        "remind me at 18:00 to take the bins out",
        (r"remind me (?:at |on )?(?P<at>.+?) to (?P<task>.+)",),
        wish="remind you at {at} of “{task}”",
        done="{result}",
        defaults={"remind": True},
    ),
    Phrase(
        "list_schedules",
        "what is planned",
        (rf"(?:what{_IS}|list(?: what{_IS})?) planned",),
        wish="look up what is planned",
        done="What is planned:{block}",
    ),
    Phrase(
        "list_mail",
        "list my mail",
        (r"(?:list|show)(?: me)?(?: the| my)? (?:new )?(?:e-?)?mails?",),
        wish="list your mail",
        done="Your mail:{block}",
    ),
)

_BY_TOOL = {phrase.tool: phrase for phrase in PHRASES}
_FLAGS = re.IGNORECASE | re.DOTALL
_PATTERNS = [(phrase, re.compile(text, _FLAGS)) for phrase in PHRASES for text in phrase.patterns]
_USE = re.compile(r"use `?(?P<tool>[\w-]+)`?(?: with)? (?P<args>\{.*\})", _FLAGS)
_JOINT = re.compile(rf"{_QUOTED}|[,;.]?\s+(?P<word>and then|and|then)\s+", re.IGNORECASE)
_POLITE = re.compile(r"^(?:(?:please|can you|could you|would you),? )+", re.IGNORECASE)
_PLEASE = re.compile(r",? please$", re.IGNORECASE)
_LONGEST_REQUEST = 10_000
"""Characters; a longer text is not taken for a request, so that matching stays quick."""

NOTE = (
    "(These are offline rules, not a language model. Set GEMINI_API_KEY and ANTHROPIC_API_KEY, "
    "or see twobrain.example.toml, for the real ones.)"
)
NOT_UNDERSTOOD = (
    "I follow a few fixed rules, so I can't chat, and I didn't understand that. I understand, say:\n\n"
    + "".join(f"- {phrase.example}\n" for phrase in PHRASES)
    + '- use calculate {"expression": "2**10"}, and so any tool by its name\n\n'
    "Join them with `and` to do them together, or with `then` to do one after the other."
)
_NOT_DONE = {
    "failed": "I couldn't {wish}{why}.",
    "denied": "I did not {wish}, because it was refused{why}.",
    "expired": "I did not {wish}: the approval came too late.",
    "superseded": "I did not {wish}: another request came before a decision.",
}
_UNCLEAR = "I can't tell whether I managed to {wish}: it was interrupted. Please check before asking again."
_RESULT_CHARS = 1_500
"""Of each result that is shown."""
_ARGUMENT_CHARS = 300
"""Of each argument that is shown."""


def rounds_of(request: str) -> list[list[OfflineCall]]:
    """Return a request's rounds of parallel calls; empty: not understood.

    `and` joins calls of one round, `then` begins the next. Both are only words inside quotes,
    and where what follows them is no request of its own (`search files for milk and honey`).
    """
    if len(request) > _LONGEST_REQUEST:
        return []
    rounds: list[list[OfflineCall]] = [[]]
    for joint, text in _parts(request.strip()):
        step = _step(text)
        if step is None:
            return []
        if joint.endswith("then"):
            rounds.append([])
        rounds[-1].append(step)
    return rounds


def report(calls: list[OfflineCall]) -> str:
    """Return a paragraph for each call, in order."""
    return "\n\n".join(map(_sentence, calls))


def explanation(proposals: list[OfflineCall], request: str) -> str:
    """Return what the planner wants to do, and why."""
    wishes = " and to ".join(map(_wish, proposals))
    return f"I'd like to {wishes}, because you asked: “{request}”."


def _parts(request: str) -> list[tuple[str, str]]:
    """Return each single request with the word that joins it on."""
    parts: list[tuple[str, str]] = []
    joints = [match for match in _JOINT.finditer(request) if match["word"]]
    for match, following in zip([None, *joints], [*joints, None], strict=True):
        text = request[match.end() if match else 0 : following.start() if following else None]
        if match and _step(text) is None:
            before, words = parts[-1]
            parts[-1] = (before, words + match[0] + text)
        else:
            parts.append((match["word"].lower() if match else "", text))
    return parts


def _step(text: str) -> OfflineCall | None:
    whole = _POLITE.sub("", text, count=1)
    bare = _PLEASE.sub("", whole.rstrip(" .!?")).rstrip(" .!?")
    if named := _USE.fullmatch(bare):
        try:
            return OfflineCall(named["tool"], json.loads(named["args"]))
        except (ValueError, RecursionError):
            return None
    for phrase, pattern in _PATTERNS:
        # The whole second, for a path that is a dot.
        if match := pattern.fullmatch(bare) or pattern.fullmatch(whole):
            found = {name: _unquoted(value) for name, value in match.groupdict().items() if value}
            return OfflineCall(phrase.tool, {**phrase.defaults, **found})
    return None


def _unquoted(value: str) -> str:
    return value[1:-1] if re.fullmatch(_QUOTED, value) else value


def _sentence(call: OfflineCall) -> str:
    result = _cut(call.result, _RESULT_CHARS)
    if call.status == "executed":
        block = _block(result)
        return _filled("done", call, result=result, block=block) or f"`{call.tool}` returned:{block}"
    why = re.sub(r"^(?:Tool error|Action denied by user)\b[\s:.,]*", "", call.result.strip()).rstrip(".")
    said = f": {_cut(why, _RESULT_CHARS)}" if why else ""
    return _NOT_DONE.get(call.status, _UNCLEAR).format(wish=_wish(call), why=said)


def _wish(call: OfflineCall) -> str:
    args = json.dumps(call.args, ensure_ascii=False)
    return _filled("wish", call) or f"use `{call.tool}` with {_cut(args, _ARGUMENT_CHARS)}"


def _filled(kind: str, call: OfflineCall, **words: str) -> str:
    """Fill a phrase's template with the call's words; empty: one is missing."""
    template = getattr(_BY_TOOL.get(call.tool), kind, "")
    shown = {name: _cut(str(value), _ARGUMENT_CHARS) for name, value in call.args.items()}
    try:
        return str(template).format_map({**shown, **words})
    except KeyError:
        return ""


def _cut(text: str, most: int) -> str:
    text = text.strip()
    return text if len(text) <= most else f"{text[:most]} … (cut)"


def _block(result: str) -> str:
    """Return a result as a code block, one line as plain words."""
    if "\n" not in result:
        return f" {result}"
    longest = max((len(run) for run in re.findall(r"`+", result)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"\n\n{fence}\n{result}\n{fence}"
