"""Offers: bounded rules that show in what a person approved lately.

And those that a person may choose from, whatever they approved before.
"""

import glob
import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, datetime, time, timedelta, tzinfo
from posixpath import splitext
from typing import Any, NamedTuple, TypedDict

from base.errors import StorageError
from base.texts import count, unseen_in
from ledger.remembered_rules import Answers
from nodes.gate.judge import runs_by
from nodes.state import JudgedCall
from nodes.turn.turn import Turn
from tools.declaration import ArgumentsError, Kind, Likeness, Tool
from tools.policy.decision import rule_for
from tools.policy.rules import ONE_PART, Rule, covers, joined

_APPROVALS = 3
"""In as many turns, one after the other, before a rule is offered."""
_APPROVAL_COUNTS_S = 30 * 86_400.0
USES = 20
"""How many calls may run by a rule, unless its person says otherwise."""
_RULE_DAYS = 7
"""A rule holds at least so long, until the end of a Sunday."""
_LONGEST_ARGUMENT = 80
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


class Candidate(NamedTuple):
    """A rule that would cover a call."""

    where: dict[str, str]
    words: str
    """Which calls it covers."""
    widened: tuple[str, ...] = ()
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


async def _candidate(turn: Turn, tool: Tool, args: dict[str, Any]) -> Candidate | None:
    """Return the narrowest rule that the person's approvals show."""
    ledger = turn.res.ledger
    candidates = [
        each
        for each in _candidates(tool, args)
        if runs_by(turn, tool.name, args, Rule(tool.name, each.where, _OFFERED))
    ]
    if not candidates:
        return None
    answers = await ledger.answers(turn.person.user, tool.name, since=ledger.now() - _APPROVAL_COUNTS_S)
    if any(where is None or rule_for(tool, args, [Rule(tool.name, where)]) for where in answers.declined):
        return None
    return next((each for each in candidates if _is_shown(turn, tool, each, answers)), None)


def _is_shown(turn: Turn, tool: Tool, candidate: Candidate, answers: Answers) -> bool:
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


def _candidates(tool: Tool, args: dict[str, Any]) -> Iterator[Candidate]:
    """Yield rules that would cover a call, the narrowest first."""
    try:
        forms = (tool.canonical_args(args), tool.check(args))
    except ArgumentsError:
        return
    for narrow in (True, False):
        for form in forms:
            if found := _rule_of(tool, form, narrow=narrow):
                yield found


def _rule_of(tool: Tool, args: Mapping[str, Any], *, narrow: bool) -> Candidate | None:
    kind = tool.kind or _kind_of_all(tool, args)
    likeness = {name: "same" if narrow and how == "folder" else how for name, how in kind.alike.items()}
    patterns = {name: _LIKE[how](args.get(name)) for name, how in likeness.items()}
    if not patterns or any(pattern is None for pattern in patterns.values()):
        return None
    where = {name: pattern.where for name, pattern in patterns.items() if pattern}
    words = kind.words.format(**{name: pattern.words for name, pattern in patterns.items() if pattern})
    widened = tuple(name for name, how in likeness.items() if how != "same")
    return Candidate(where, words, widened) if len(words) <= _LONGEST_WORDS else None


def _kind_of_all(tool: Tool, args: Mapping[str, Any]) -> Kind:
    """Return the kind of calls that are the same throughout."""
    if args.keys() != tool.declared() or not all(map(str.isidentifier, args)):
        return Kind("", {})
    told = ", ".join(f"{name} {{{name}}}" for name in args)
    return Kind(f"Calls of {tool.name} with {told}", dict.fromkeys(args, "same"))


def choices_for(tool: Tool, args: Mapping[str, Any]) -> list[Candidate]:
    """Return rules that a call's person may choose from, the narrowest first.

    What runs programs, or is an admin's, is agreed to as the very same call alone.
    """
    found = [*_candidates(tool, dict(args))]
    if tool.effect != "execute" and tool.role != "admin":
        found += _wider(tool, args)
    chosen: list[Candidate] = []
    for each in found:
        is_fit = covers(each.where, args) and rule_for(tool, args, [Rule(tool.name, each.where)])
        if is_fit and not any(each.where == one.where or each.words == one.words for one in chosen):
            chosen.append(each)
    return chosen


def _wider(tool: Tool, args: Mapping[str, Any]) -> Iterator[Candidate]:
    """Yield rules about one argument, whatever the others are, then about none."""
    alike = tool.kind.alike if tool.kind else ()
    texts = [name for name in args if name.isidentifier() and _texts(args[name])]
    names = sorted(texts, key=lambda name: name not in alike)
    for name in names:
        around = _around(_texts(args[name]))
        if around and (same := _same(args[name])):
            yield Candidate({name: same.where}, f"Calls of {tool.name} where {name} is {same.words}")
        for pattern in around:
            yield Candidate({name: pattern.where}, f"Calls of {tool.name} where {name} is {pattern.words}")
    for name in names:
        yield Candidate({name: "*"}, f"Every call of {tool.name}")


def _texts(value: Any) -> list[str]:
    """Return the texts that a value is made of."""
    values = list(value) if isinstance(value, list | tuple) else [value]
    return values if all(isinstance(each, str) for each in values) else []


def _around(texts: Sequence[str]) -> "list[_Pattern]":
    """Return what lies around a file, a URL or an address."""
    found = {_surrounding(text) for text in texts if len(text) <= _LONGEST_ARGUMENT and _is_plain(text)}
    return [pattern for pattern in found if pattern] if len(found) == 1 else []


def _surrounding(text: str) -> "_Pattern | None":
    if site := re.match(r"\w+://[^/?#\\@]+/", text):
        return _Pattern(f"{glob.escape(site[0])}*", f"anything at {site[0]}")
    if text.count("@") == 1 and " " not in text and (domain := text.rpartition("@")[2]):
        return _Pattern(f"*@{glob.escape(domain)}", f"any address at {domain}")
    folder, _, name = text.rpartition("/")
    if folder and splitext(name)[1] and "://" not in text:
        return _Pattern(f"{glob.escape(folder)}/{ONE_PART}", f"any file in {folder}/")
    return None


class _Pattern(NamedTuple):
    where: str
    words: str


def _same(value: Any) -> _Pattern | None:
    text = joined(value) if isinstance(value, list | tuple) else value
    if not isinstance(text, str) or len(text) > _LONGEST_ARGUMENT or not _is_plain(text):
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


def end_of_week(now: float, zone: tzinfo) -> datetime:
    """Return the end of a Sunday, at least a week from now."""
    day = (datetime.fromtimestamp(now, zone) + timedelta(days=_RULE_DAYS)).date()
    return end_of_day(day + timedelta(days=6 - day.weekday()), zone)


def end_of_day(day: date, zone: tzinfo) -> datetime:
    """Return the last second of a day."""
    return datetime.combine(day, time(23, 59, 59), zone)


def in_words(words: str, uses: int | None, until: datetime | None, *, year: bool = False) -> str:
    """Return a rule and its bounds as a person reads them."""
    often = f"{count(uses, 'time')}" if uses else "any number of times"
    end = (
        f"until {until:%A} {until.day} {until:%B}{f' {until.year}' if year else ''}" if until else "for good"
    )
    return f"{words} without asking, {often}, {end}"


def _offer(turn: Turn, chosen: Candidate) -> Offer:
    until = end_of_week(turn.res.ledger.now(), turn.res.settings.zone(turn.person.user))
    return Offer(
        text=in_words(chosen.words, USES, until),
        remember={"where": chosen.where, "until": until.isoformat(), "uses": USES},
    )
