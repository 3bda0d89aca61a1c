"""The confirmation request: what a person reads before they agree."""

import json
import re
from collections.abc import Mapping, Sequence
from datetime import tzinfo
from hashlib import sha256
from typing import Any

from langchain_core.messages import AIMessage
from langgraph.config import get_config

from base.texts import as_text, escaped, moment, unseen_in, visible
from ledger.records import Lost
from nodes.gate.offers import Offer, offers_for
from nodes.state import JudgedCall, State
from nodes.turn.history import QUESTION
from nodes.turn.turn import Turn
from tools.declaration import ArgumentsError, Here, Tool

ANSWERED = "__twobrain_question"
"""Key in a run's `configurable`: `identity_of` the question that stood when its answer came."""
CONSENT = "The assistant asks for your consent to: {tools}."
"""What is said first where the planner does not say it in its own words."""
DOUBTS = "A call was cut short, and nobody knows whether it happened. Run it again, or count it as done?"
GIVE_A_REASON = "To reject, give a reason: some programs send a rejection without one as an approval."
_DOUBTFUL = (
    "It is unknown whether this happened: {why}. Look first, where you can. Approve runs it again; if it did "
    "happen, it then happens twice. Reject counts it as done; it is not run again."
)
_EXECUTED = (
    "This happened already in this turn, on {when}, where the conversation did not go on. Approve runs it "
    "again, so that it happens twice. Reject counts it as done; it is not run again."
)
_CUT_SHORT = (
    "attempt {attempt} was begun on {when} and cut short before its result was recorded; what it began may "
    "still be running"
)
_BEGUN_BEFORE = "the same call was begun before in this turn, on {when}, where the conversation did not go on"
_OFFER = "You approved such calls before. To agree to `{text}`, answer `{answer}`."
_WAITS = "It waits for {approvers}."
_EXPIRES = "A yes counts until {when}."
_CHANGED = "This is not what you were asked about before: it has changed since."
_NOT_ON_RECORD = "the ledger was lost, or put back from an older copy, and has no record of it"


async def request_for(
    turn: Turn,
    waiting: Sequence[JudgedCall],
    lost: Mapping[str, Lost],
    message: str,
    expires_at: float | None,
) -> dict[str, Any]:
    """Return the request for calls, in the form that clients render.

    Args:
        turn: the turn.
        waiting: the calls.
        lost: those of them of which nobody knows whether they happened, by call id.
        message: what is said first.
        expires_at: Unix seconds until when an answer counts; None: for good.
    """
    allowed = ["approve", "reject"] if lost else ["approve", "edit", "reject"]
    offers = {} if lost else await offers_for(turn, waiting, arguments_asked_about)
    actions = [await _action(call, turn, lost.get(call["id"]), offers, expires_at) for call in waiting]
    return {
        "action_requests": actions,
        "review_configs": [
            {"action_name": name, "allowed_decisions": allowed}
            for name in dict.fromkeys(call["name"] for call in waiting)
        ],
        "message": message,
        "expires_at": expires_at,
        "approvers": list(turn.person.approvers),
    }


def arguments_asked_about(call: JudgedCall, turn: Turn) -> dict[str, Any]:
    """Return a call's arguments, or those that a person agreed to.

    They have the names that the tool itself gives them.
    """
    decided, tool = turn.state.decisions.get(call["id"]), turn.res.tools.find(call["name"])
    args = decided["args"] if decided else call["args"]
    return tool.own_args(args) if tool else args


def remaining(state: State) -> dict[str, Any]:
    """Return the request for the undecided calls, with the last problem.

    Where an answer did not say which call it was about, it is for the first of them.
    """
    actions = [a for a in state.request["action_requests"] if a["tool_call_id"] not in state.decisions]
    actions = actions[:1] if state.request.get("one_by_one") else actions
    names = {action["name"] for action in actions}
    reviews = [r for r in state.request["review_configs"] if r["action_name"] in names]
    request = {**state.request, "action_requests": actions, "review_configs": reviews}
    if state.problem:
        request["problem"] = state.problem
        request["message"] = f"{state.problem}\n\n{state.request['message']}"
    return request


def above_the_card(turn: Turn, words: str) -> list[AIMessage]:
    """Return our words on a question as a server's message.

    Chat programs show the conversation, and of a question only its calls until one clicks. Nothing in it is
    a model's, for it is shown as live Markdown.
    """
    if turn.runtime.server_info is None:
        return []
    name = f"question-{turn.state.turn}-{len(turn.state.messages)}"
    return [AIMessage(f"{words}\n\n{GIVE_A_REASON}", id=name, additional_kwargs={QUESTION: True})]


def identity_of(request: Mapping[str, Any]) -> str:
    """Return a hash of all that a question shows of its calls."""
    shown = json.dumps(request["action_requests"], sort_keys=True)
    return sha256(shown.encode()).hexdigest()


def was_sent_before(request: Mapping[str, Any]) -> bool:
    """Tell whether this run's answer came while another question stood.

    A server lets one run wait for another, or begins it again after a crash, and hands what it brings to
    whatever question stands then.

    Returns:
        False also where nobody noted it: elsewhere than on our server.
    """
    noted = get_config()["configurable"].get(ANSWERED)
    return noted is not None and noted != identity_of(request)


async def _action(
    call: JudgedCall,
    turn: Turn,
    doubt: Lost | None,
    offers: Mapping[str, Offer],
    expires_at: float | None,
) -> dict[str, Any]:
    tool, args = turn.res.tools.find(call["name"]), arguments_asked_about(call, turn)
    preview = await _preview(tool, turn.here(call["id"]), args) if tool else None
    shown = _hash_of(tool, preview)
    before = (a for a in turn.state.request.get("action_requests", ()) if a["tool_call_id"] == call["id"])
    changed = _CHANGED if any(asked.get("shown") != shown for asked in before) else None
    effect = code_block(preview) if preview else None
    zone = turn.res.settings.zone(turn.person.user)
    doubtful, reason = (_in_doubt(doubt, zone), None) if doubt else (None, call["reason"])
    expires = _EXPIRES.format(when=moment(expires_at, zone)) if expires_at else None
    waits = _WAITS.format(approvers=one_of(turn.person.approvers)) if turn.person.approvers else None
    offer = offers.get(call["id"])
    offered = _in_words(call["id"], offer) if offer else None
    parts = (changed, doubtful, effect, _unseen_in(args), reason, waits, expires, offered)
    action: dict[str, Any] = {
        "name": call["name"],
        "args": args,
        "arguments": args,
        "description": "\n\n".join(part for part in (*parts, GIVE_A_REASON) if part),
        "tool_call_id": call["id"],
        "definition": tool.definition if tool else "",
        "shown": shown,
    }
    action |= {"offer": offer} if offer else {}
    if tool and tool.always_asks:
        action["always_asks"] = True
    return {**action, "attempt": doubt.attempt} if doubt else action


def own_description(action: Mapping[str, Any]) -> str:
    """Return a description without what only programs of others need."""
    said: str = action.get("description", "").removesuffix(GIVE_A_REASON)
    offer = action.get("offer")
    return said.replace(_in_words(action["tool_call_id"], offer), "").strip() if offer else said.strip()


def _in_words(call_id: str, offer: Offer) -> str:
    """Return an offer and how to take it."""
    decision = {"type": "approve", "tool_call_id": call_id, "remember": offer["remember"]}
    answer = json.dumps(decision, ensure_ascii=False).replace("`", "\\u0060")
    return _OFFER.format(text=offer["text"], answer=answer)


def one_of(names: Sequence[str]) -> str:
    """Return names as a choice, in words."""
    shown = [visible(name) for name in names]
    return " or ".join([*([", ".join(shown[:-1])] if shown[1:] else []), *shown[-1:]])


def code_block(preview: str) -> str:
    """Return a preview in a code fence, longer than any in it.

    Clients show Markdown: its links would be loaded, and the signs of a diff be drawn as bullets.
    """
    longest = max((len(ticks) for ticks in re.findall("`+", preview)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{escaped(preview)}\n{fence}"


def _unseen_in(args: Mapping[str, Any]) -> str | None:
    """Return in words what of the arguments no client shows."""
    texts = {name: value if isinstance(value, str) else as_text(value) for name, value in args.items()}
    held = {name: unseen for name, text in texts.items() if (unseen := unseen_in(text))}
    found = "; ".join(f"{name} holds {', '.join(unseen)}" for name, unseen in held.items())
    return f"Not all of it can be seen: {found}." if found else None


def unfenced(description: str) -> str:
    """Return a description without the marks around its preview."""
    return re.sub(r"^(`{3,})\n(.*?)\n\1$", r"\2", description, count=1, flags=re.DOTALL | re.MULTILINE)


async def _preview(tool: Tool, here: Here, args: dict[str, Any]) -> str | None:
    try:
        return await tool.preview(here, tool.check(args))
    except ArgumentsError:  # the tool has changed since; the call will be told so
        return None


async def shown_now(tool: Tool, here: Here, args: dict[str, Any]) -> str:
    """Return the hash of tool and effect as they would be shown."""
    return _hash_of(tool, await _preview(tool, here, args))


def _hash_of(tool: Tool | None, preview: str | None) -> str:
    return sha256(f"{tool.definition if tool else ''}\0{preview}".encode("utf-8", "replace")).hexdigest()


def _in_doubt(doubt: Lost, zone: tzinfo) -> str:
    if doubt.since is None:
        return _DOUBTFUL.format(why=_NOT_ON_RECORD)
    when = moment(doubt.since, zone)
    if doubt.ended == "executed":
        return _EXECUTED.format(when=when)
    why = _BEGUN_BEFORE if doubt.ended else _CUT_SHORT
    return _DOUBTFUL.format(why=why.format(attempt=doubt.attempt, when=when))
