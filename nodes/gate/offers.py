"""Offers: bounded rules that show in what a person approved lately."""

import glob
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, time, timedelta
from posixpath import splitext
from typing import Any, NamedTuple, TypedDict

from base.errors import StorageError
from base.texts import unseen_in
from ledger.remembered_rules import Answers
from nodes.gate.judge import runs_by
from nodes.state import JudgedCall
from nodes.turn.turn import Turn
from tools.declaration import ArgumentsError, Kind, Likeness, Tool
from tools.policy.decision import rule_for
from tools.policy.rules import ONE_PART, Rule, covers, joined

_APPROVALS = 3
"""In as many turns, one after the other, before a rule is offered."""
_LATELY_S = 30 * 86_400.0
"""How long an approval counts."""
_USES = 20
_DAYS = 7
"""A rule holds at least so long, until the end of a Sunday."""
_LONGEST = 80
"""Characters of an argument that a rule names."""
_LONGEST_WORDS = 200
_OFFERED = "an offered rule"
_log = logging.getLogger(__name__)


class Offer(TypedDict):
    """A rule that an approval of the call may carry."""

    text: str
    """The rule in plain words, one line of nothing that Markdown ends code with."""
    remember: dict[str, Any]
    """As in `nodes.gate.answers.Remember`."""


class _Candidate(NamedTuple):
    where: dict[str, str]
    words: str
    widened: tuple[str, ...]
    """Arguments that are another in each of its calls."""


async def offers_for(turn: Turn, waiting: Sequence[JudgedCall], args: Callable[..., Any]) -> dict[str, Offer]:
    """Return the rules to offer with calls that wait, by call id.

    Each is offered once. `args` tells with which arguments a call would run.
    """
    found: dict[str, Offer] = {}
    offered: list[tuple[str, dict[str, str]]] = []
    for call in waiting:
        tool = turn.res.tools.find(call["name"])
        if tool is None or tool.effect == "execute" or tool.role == "admin":
            continue
        try:
            chosen = await _candidate(turn, tool, args(call, turn))
        except StorageError:  # without an offer, the question is the same
            _log.exception("what was approved of %s could not be read", tool.name)
            return {}
        if chosen and (tool.name, chosen.where) not in offered:
            offered.append((tool.name, chosen.where))
            found[call["id"]] = _offer(turn, chosen)
    return found


async def _candidate(turn: Turn, tool: Tool, args: dict[str, Any]) -> _Candidate | None:
    """Return the narrowest rule that the person's approvals show."""
    ledger = turn.res.ledger
    candidates = [
        each
        for each in _candidates(tool, args)
        if runs_by(turn, tool.name, args, Rule(tool.name, each.where, _OFFERED))
    ]
    if not candidates:
        return None
    answers = await ledger.answers(turn.person.user, tool.name, since=ledger.now() - _LATELY_S)
    if any(where is None or rule_for(tool, args, [Rule(tool.name, where)]) for where in answers.declined):
        return None
    return next((each for each in candidates if _is_shown(turn, tool, each, answers)), None)


def _is_shown(turn: Turn, tool: Tool, candidate: _Candidate, answers: Answers) -> bool:
    """Tell whether the last answers about such calls were approvals.

    Each of another turn, so that those given at once, a replay and a fork count once. Where the calls may
    differ, those approved have to.
    """
    if any(covers(candidate.where, where) for where in answers.declined):
        return False
    rule, approvers = Rule(tool.name, candidate.where), turn.person.approvers
    turns: set[tuple[str, str]] = set()
    differing: set[str] = set()
    for answer in answers.calls:
        if answer["args"] is None:
            break
        if rule_for(tool, answer["args"], [rule]) is None:
            continue
        if answer["decision"] != "approved":
            break
        by_whom = not approvers or answer["decided_by"] in approvers
        if answer["status"] == "executed" and by_whom and not answer["tainted"]:
            turns.add((answer["thread"], answer["turn"]))
            canonical = tool.canonical_args(answer["args"])
            differing.add(repr([canonical[name] for name in candidate.widened]))
    return len(turns) >= _APPROVALS and (not candidate.widened or len(differing) >= _APPROVALS)


def _candidates(tool: Tool, args: dict[str, Any]) -> Iterator[_Candidate]:
    """Yield rules that would cover a call, the narrowest first."""
    try:
        forms = (tool.canonical_args(args), tool.check(args))
    except ArgumentsError:
        return
    for narrow in (True, False):
        for form in forms:
            if found := _rule_of(tool, form, narrow=narrow):
                yield found


def _rule_of(tool: Tool, args: Mapping[str, Any], *, narrow: bool) -> _Candidate | None:
    kind = tool.kind or _kind_of_all(tool, args)
    likeness = {name: "same" if narrow and how == "folder" else how for name, how in kind.alike.items()}
    patterns = {name: _LIKE[how](args.get(name)) for name, how in likeness.items()}
    if not patterns or any(pattern is None for pattern in patterns.values()):
        return None
    where = {name: pattern.where for name, pattern in patterns.items() if pattern}
    words = kind.words.format(**{name: pattern.words for name, pattern in patterns.items() if pattern})
    widened = tuple(name for name, how in likeness.items() if how != "same")
    return _Candidate(where, words, widened) if len(words) <= _LONGEST_WORDS else None


def _kind_of_all(tool: Tool, args: Mapping[str, Any]) -> Kind:
    """Return the kind of calls that are the same throughout."""
    if args.keys() != tool.declared() or not all(map(str.isidentifier, args)):
        return Kind("", {})
    told = ", ".join(f"{name} {{{name}}}" for name in args)
    return Kind(f"Calls of {tool.name} with {told}", dict.fromkeys(args, "same"))


class _Pattern(NamedTuple):
    where: str
    words: str


def _same(value: Any) -> _Pattern | None:
    text = joined(value) if isinstance(value, list | tuple) else value
    if not isinstance(text, str) or len(text) > _LONGEST or not _is_plain(text):
        return None
    return _Pattern(glob.escape(text), text.replace(",", " and ") if text is not value else text or "empty")


def _folder(value: Any) -> _Pattern | None:
    """Return a pattern of the files beside one that have its ending."""
    path = _same(value)
    if path is None or value != path.words:
        return None
    folder, _, name = value.rpartition("/")
    ending = splitext(name)[1]
    if not folder or not ending:
        return None
    words = f"files that end in {ending} in {folder}/"
    return _Pattern(f"{glob.escape(folder)}/{ONE_PART}{glob.escape(ending)}", words)


def _any(value: Any) -> _Pattern | None:
    return _Pattern("*", "") if isinstance(value, str) else None


_LIKE: dict[Likeness, Callable[[Any], _Pattern | None]] = {"same": _same, "folder": _folder, "any": _any}


def _is_plain(text: str) -> bool:
    """Tell whether a text is one line, visible, without Markdown's ticks."""
    return not unseen_in(text) and text.isprintable() and "`" not in text


def _offer(turn: Turn, chosen: _Candidate) -> Offer:
    zone = turn.res.settings.zone(turn.person.user)
    day = (datetime.fromtimestamp(turn.res.ledger.now(), zone) + timedelta(days=_DAYS)).date()
    sunday = day + timedelta(days=6 - day.weekday())
    until = datetime.combine(sunday, time(23, 59, 59), zone)
    return Offer(
        text=f"{chosen.words} without asking, {_USES} times, until {sunday:%A} {sunday.day} {sunday:%B}",
        remember={"where": chosen.where, "until": until.isoformat(), "uses": _USES},
    )
