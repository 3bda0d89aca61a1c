"""What policy says of a call, when planned and when run."""

import logging
import sys
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple, TypeGuard

from langchain_core.messages import AIMessage

from base.errors import StorageError
from models.call import Reply
from models.media import attached
from models.replies import in_thread_if_long, renumbered
from nodes.gate.repeats import Find, objections_to
from nodes.prompt.views import EARLIER_MESSAGES
from nodes.state import JudgedCall, StoredTaint, Verdict
from nodes.turn.history import TAINT, FinishedCall, TurnCall, read_turn, said_before, texts_of_person
from nodes.turn.limits import calls_left
from nodes.turn.turn import Turn
from tools.declaration import ArgumentsError
from tools.policy.decision import Allow, Confirm, Ruling, decide
from tools.policy.rules import Rule, used
from tools.policy.taint import ReadResult, Taint, links_in, taint_after

_TOO_MANY = "The limit of tool calls for this turn is reached."
_NOT_OURS = StoredTaint(sources=["an earlier answer"], trusted_links=[])
"""Of what a client brought, or what was written before it was marked."""
_ATTACHED = StoredTaint(sources=["an attachment"], trusted_links=[])
"""Of a turn whose models see a file of the person's: others may have written what it says."""
_log = logging.getLogger(__name__)


class JudgedRound(NamedTuple):
    """A planner's message, and what policy says of its calls."""

    message: AIMessage
    calls: list[JudgedCall]
    taint: StoredTaint


async def judge_round(turn: Turn, reply: Reply) -> JudgedRound:
    """Judge the calls of a reply, and enter them in the ledger.

    Where all are reads that will run, nobody waits for the ledger: they may run again.
    """
    taint = await taint_of(turn)
    mark = {TAINT: StoredTaint(sources=taint["sources"], trusted_links=[])}  # of calls, no link is shown
    kept = {**reply.message.additional_kwargs, **mark}
    message = reply.message.model_copy(update={"additional_kwargs": kept})
    calls, all_read = _judged(turn, message, taint, [])
    if all_read:
        turn.res.ledger.reads.plan(turn.ledger_calls(message.tool_calls, reply.backend))
        return JudgedRound(message, calls, taint)
    # An id may be known where the thread's checkpoints were lost, rewound or forked and the model numbers its
    # calls: an old outcome would then pass for that of the new call.
    held, enter = turn.call_ids(), turn.res.ledger.enter
    while (entered := await enter(turn.ledger_calls(message.tool_calls, reply.backend), held)).taken:
        message = renumbered(message, entered.taken)
    # A remembered rule can only let run what would ask.
    rules = await _remembered_rules(turn) if any(call["verdict"] == "ask" for call in calls) else []
    calls, _ = _judged(turn, message, taint, rules)
    for call in calls:
        if call["id"] in entered.doubted and call["verdict"] == "ask":
            call["verdict"] = "run"  # it is looked up before anybody is asked
        elif call["verdict"] == "ask" and await _is_objected(turn, call):
            call["verdict"] = "run"  # it cannot: nobody is asked, and the planner is told why
    return JudgedRound(message, calls, taint)


async def judge_again(turn: Turn, name: str, args: dict[str, Any], taint: StoredTaint) -> Ruling:
    """Return what policy says of a call that is about to run."""
    read = _as_taint(taint)
    ruling = _ruling(turn, name, args, read, [])
    if isinstance(ruling, Confirm):
        ruling = _ruling(turn, name, args, read, await _remembered_rules(turn))
    return ruling


def runs_by(turn: Turn, name: str, args: dict[str, Any], rule: Rule) -> bool:
    """Tell whether a rule would let a call of this round run."""
    ruling = _ruling(turn, name, args, _as_taint(turn.state.taint), [rule], _denied(turn))
    return isinstance(ruling, Allow) and ruling.rule == rule.id


async def taint_of(turn: Turn) -> StoredTaint:
    """Return the taint of what a turn goes by.

    It goes by its results, by earlier answers, and by what its tools say of themselves. Links to trust are
    those of what the person wrote, in this turn or before; the others are chosen in `tools.policy.taint`.
    """
    results = turn.history.results
    said = sum(map(len, texts_of_person(turn.state.messages)))
    before = await in_thread_if_long(said, _taint_before, turn)
    if not before.sources and not any(result.untrusted for result in results.values()):
        return {"sources": [], "trusted_links": []}
    chars = said + sum(len(result.text) for result in results.values())
    return await in_thread_if_long(chars, _taint_after, turn, before)


def _taint_after(turn: Turn, before: Taint) -> StoredTaint:
    find, results = turn.res.tools.find, turn.history.results
    rounds = [
        [_as_read(FinishedCall(call, results[call.id]), find) for call in each.calls if call.id in results]
        for each in turn.history.rounds
    ]
    request = turn.history.request
    taint = taint_after(rounds, "" if TAINT in request.additional_kwargs else request.text, before)
    said = [links_in(text) for text in texts_of_person(turn.state.messages)]
    return {"sources": sorted(taint.sources), "trusted_links": sorted(taint.trusted_links.union(*said))}


async def taint_of_answer(turn: Turn, answer: str) -> StoredTaint:
    """Return the taint that an answer hands on to later turns.

    Of the links to trust, those that stand in it.
    """
    taint = await taint_of(turn)
    links = await in_thread_if_long(len(answer), links_in, answer) if taint["trusted_links"] else frozenset()
    links = links.intersection(taint["trusted_links"])
    return {"sources": taint["sources"], "trusted_links": sorted(links)}


def _taint_before(turn: Turn) -> Taint:
    """Return the taint that a turn begins with."""
    most = None if turn.state.path == "direct" else EARLIER_MESSAGES
    said = said_before(turn.state.messages, turn.history.before, most, sys.maxsize)
    marks = [mark for each in said for mark in each.taints]
    if TAINT in (own := turn.history.request.additional_kwargs):
        marks.append(own[TAINT])
    shown = [mark if _is_ours(mark) else _NOT_OURS for mark in marks]
    if any(each.attachments for each in said) or any(attached(turn.history.request.content)):
        shown.append(_ATTACHED)
    tools = turn.offered if turn.state.path != "direct" else []
    described = [f"what {tool.name} says of itself" for tool in tools if tool.untrusted_definition]
    sources = frozenset(described).union(*(mark["sources"] for mark in shown))
    return Taint(sources, frozenset().union(*(mark["trusted_links"] for mark in shown)))


def is_tainted(message: AIMessage) -> bool:
    """Tell whether untrusted content may have come before an answer."""
    mark = message.additional_kwargs.get(TAINT)
    return not _is_ours(mark) or bool(mark["sources"])


def _is_ours(mark: Any) -> TypeGuard[StoredTaint]:
    """Tell whether a mark has the form that we write."""
    parts = [mark.get(name) for name in StoredTaint.__annotations__] if isinstance(mark, Mapping) else [None]
    return all(isinstance(part, list) and all(isinstance(each, str) for each in part) for part in parts)


def _as_read(one: FinishedCall, find: Find) -> ReadResult:
    result = one.result
    succeeded = result.status == "executed"
    return ReadResult(one.call.name, find(one.call.name), one.args, result.text, succeeded, result.untrusted)


def _judged(
    turn: Turn, message: AIMessage, taint: StoredTaint, rules: list[Rule]
) -> tuple[list[JudgedCall], bool]:
    """Return a new round's calls, and whether all are reads that run."""
    made = read_turn([*turn.state.messages, message], turn.state.turn)  # as the next step will find it parsed
    made = made if made.rounds else turn.history.followed_by([message])  # its request was taken away
    find, left, all_read = turn.res.tools.find, calls_left(turn), True
    again = objections_to(made.calls, made.results, find)
    denied, read, judged = _denied(turn), _as_taint(taint), []
    for number, call in enumerate(made.rounds[-1].calls):
        refusal = _TOO_MANY if left is not None and number >= left else again.get(call.id)
        ruling = None if refusal or call.problem else _ruling_if_it_can_run(turn, call, read, rules, denied)
        if isinstance(ruling, Allow) and ruling.rule:
            rules = used(rules, ruling.rule)
        verdict: Verdict = "refuse" if refusal else "ask" if isinstance(ruling, Confirm) else "run"
        tool = find(call.name)
        all_read &= verdict == "run" and ruling is not None and tool is not None and tool.effect == "read"
        reason = refusal or (ruling.reason if isinstance(ruling, Confirm) else "")
        judged.append(
            JudgedCall(
                id=call.id,
                name=call.name,
                args=call.args,
                problem=call.problem,
                verdict=verdict,
                reason=reason,
            )
        )
    return judged, all_read


def _denied(turn: Turn) -> set[str]:
    """Return tools of which the person denied a call this turn."""
    results = turn.history.results
    denied = {call_id for call_id, result in results.items() if result.denied}
    names = {call.name for call in turn.history.calls if call.id in denied} if denied else set()
    return {tool.name for name in names if (tool := turn.res.tools.find(name))}


def _as_taint(stored: StoredTaint) -> Taint:
    return Taint(frozenset(stored["sources"]), frozenset(stored["trusted_links"]))


def _ruling_if_it_can_run(
    turn: Turn, call: TurnCall, read: Taint, rules: Sequence[Rule], denied: Collection[str]
) -> Ruling | None:
    """Return what policy says of a call; None: it cannot run."""
    tool = turn.res.tools.find(call.name)
    try:
        args = tool.check(call.args) if tool else {}
    except ArgumentsError:
        return None
    return _ruling(turn, call.name, args, read, rules, denied)


async def _is_objected(turn: Turn, call: JudgedCall) -> bool:
    """Tell whether the tool knows already that a call cannot run."""
    if tool := turn.res.tools.find(call["name"]):
        with suppress(ArgumentsError):
            return await tool.objection(turn.here(call["id"]), tool.check(call["args"])) is not None
    return False


def _ruling(  # noqa: PLR0913, PLR0917 (what `decide` takes)
    turn: Turn, name: str, args: Any, read: Taint, rules: Sequence[Rule], denied: Collection[str] = ()
) -> Ruling:
    return decide(turn.person, turn.res.tools.find(name), name, args, read, rules, denied=denied)


async def _remembered_rules(turn: Turn) -> list[Rule]:
    """Return the person's valid rules; none where the ledger cannot be read."""
    try:
        rows = await turn.res.ledger.rules(user=turn.person.user, valid=True)
    except StorageError:  # without its rules, a call asks
        _log.exception("the rules of %s could not be read", turn.person.user)
        return []
    if approvers := turn.person.approvers:
        rows = [row for row in rows if row["created_by"] in approvers]
    return [Rule(r["tool"], r["where"], r["id"], r["definition"], r["uses_left"]) for r in rows]
