"""What policy says of a call, when planned and when run."""

import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from langchain_core.messages import AIMessage

from base.errors import StorageError
from models.call import Reply
from models.replies import renumbered
from nodes.gate.repeats import Find, objections_to
from nodes.state import JudgedCall, StoredTaint, Verdict
from nodes.turn.history import FinishedCall, TurnCall, TurnHistory, calls_in, round_of, texts_of_person
from nodes.turn.limits import calls_left
from nodes.turn.turn import Turn
from tools.declaration import ArgumentsError
from tools.policy.decision import Allow, Confirm, Ruling, decide
from tools.policy.rules import Rule, used
from tools.policy.taint import Taint, links_in, points_at

_TOO_MANY = "The limit of tool calls for this turn is reached."
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
    taint = taint_of(turn.history, texts_of_person(turn.state.messages), turn.res.tools.find)
    message = reply.message
    calls = _judged(turn, message, taint, [])
    if all(_is_read(call, turn.res.tools.find) for call in calls):
        turn.res.ledger.reads.plan(turn.ledger_calls(message.tool_calls, reply.backend))
        return JudgedRound(message, calls, taint)
    # An id may be known where the thread's checkpoints were lost, rewound or forked and the model numbers its
    # calls: an old outcome would then pass for that of the new call.
    held = {call["id"] for call in calls_in(turn.state.messages)}
    enter = turn.res.ledger.enter
    while (entered := await enter(turn.ledger_calls(message.tool_calls, reply.backend), held)).taken:
        message = renumbered(message, entered.taken)
    # A remembered rule can only let run what would ask.
    rules = await _remembered_rules(turn) if any(call["verdict"] == "ask" for call in calls) else []
    calls = _judged(turn, message, taint, rules)
    for call in calls:
        if call["id"] in entered.doubted and call["verdict"] == "ask":
            call["verdict"] = "run"  # it is looked up before anybody is asked
    return JudgedRound(message, calls, taint)


async def judge_again(turn: Turn, name: str, args: dict[str, Any], taint: StoredTaint) -> Ruling:
    """Return what policy says of a call that is about to run."""
    ruling = _ruling(turn, name, args, taint, [])
    if isinstance(ruling, Confirm):
        ruling = _ruling(turn, name, args, taint, await _remembered_rules(turn))
    return ruling


def taint_of(history: TurnHistory, said: Sequence[str], find: Find) -> StoredTaint:
    """Return the sources of untrusted content, and the links to trust.

    Those are the links of what the person wrote, in this turn or before, and of results of calls made before
    the untrusted content came: of trusted ones, and of those that read a place which the request names, as
    in "open the link in the general channel". A later call's result may echo what that content put into it.

    Args:
        history: of the turn.
        said: every text of the person in the conversation.
        find: from a name to its tool.
    """
    if not any(result.untrusted for result in history.results.values()):
        return {"sources": [], "trusted_links": []}
    sources: set[str] = set()
    vouched = list(said)
    for each in history.rounds:
        is_tainted = bool(sources)
        finished = [FinishedCall(c, history.results[c.id]) for c in each.calls if c.id in history.results]
        for one in finished:
            if not is_tainted and _is_vouched_for(one, history.request.text, find):
                vouched.append(one.result.text)
            if one.result.untrusted:
                sources.add(one.call.name or "a tool")
    links = {link for text in vouched for link in links_in(text)}
    return {"sources": sorted(sources), "trusted_links": sorted(links)}


def _is_vouched_for(one: FinishedCall, request: str, find: Find) -> bool:
    """Tell whether a result's links count as the person's."""
    if one.result.status != "executed":
        return False
    tool = find(one.call.name)
    return not one.result.untrusted or (tool is not None and points_at(request, tool, one.args))


def _judged(turn: Turn, message: AIMessage, taint: StoredTaint, rules: list[Rule]) -> list[JudgedCall]:
    calls = round_of(message).calls
    left = calls_left(turn)
    again = objections_to([*turn.history.calls, *calls], turn.history.results, turn.res.tools.find)
    judged = []
    for number, call in enumerate(calls):
        refusal = _TOO_MANY if left is not None and number >= left else again.get(call.id)
        ruling = None if refusal or call.problem else _ruling_if_it_can_run(turn, call, taint, rules)
        if isinstance(ruling, Allow) and ruling.rule:
            rules = used(rules, ruling.rule)
        verdict: Verdict = "refuse" if refusal else "ask" if isinstance(ruling, Confirm) else "run"
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
    return judged


def _ruling_if_it_can_run(
    turn: Turn, call: TurnCall, taint: StoredTaint, rules: Sequence[Rule]
) -> Ruling | None:
    """Return what policy says of a call; None: it cannot run."""
    tool = turn.res.tools.find(call.name)
    try:
        args = tool.check(call.args) if tool else {}
    except ArgumentsError:
        return None
    return _ruling(turn, call.name, args, taint, rules)


def _ruling(turn: Turn, name: str, args: Any, taint: StoredTaint, rules: Sequence[Rule]) -> Ruling:
    read = Taint(frozenset(taint["sources"]), frozenset(taint["trusted_links"]))
    return decide(turn.person, turn.res.tools.find(name), name, args, read, rules)


def _is_read(call: JudgedCall, find: Find) -> bool:
    """Tell whether a call is a read that will run."""
    tool = find(call["name"])
    if tool is None or tool.effect != "read" or call["verdict"] != "run" or call["problem"]:
        return False
    with suppress(ArgumentsError):
        tool.check(call["args"])
        return True
    return False


async def _remembered_rules(turn: Turn) -> list[Rule]:
    """Return the person's valid rules; none where the ledger cannot be read."""
    try:
        rows = await turn.res.ledger.rules(user=turn.person.user, valid=True)
    except StorageError:  # without its rules, a call asks
        _log.exception("the rules of %s could not be read", turn.person.user)
        return []
    return [Rule(r["tool"], r["where"], r["id"], r["definition"], r["uses_left"]) for r in rows]
