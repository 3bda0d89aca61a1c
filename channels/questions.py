"""Questions in chats: shown, pressed once, marked when answered."""

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from base.errors import UnknownThreadError
from base.texts import visible
from channels.delivery import Delivery, Outgoing
from channels.dialogue import card_text
from channels.messages import ChatPlace, Messages
from channels.messenger import Button, ChatGoneError, Incoming, Messenger
from channels.notices import is_quiet
from graphs.session import Orchestrator
from nodes.gate.request import identity_of

_MOST_PARTS = 8
"""Messages that a question may take; of a longer one not all is read."""
_TOO_LONG = (
    "A question waits that is too long to be shown here whole, so it cannot be agreed to here: it is about "
    "{calls}. See it on the page, or with `twobrain pending`, and decide there."
)
_NOT_YOURS = "This question is not yours to answer."
_DECIDED_ALREADY = "This was decided already."
_NO_REACTION_DECIDES = "A reaction is no answer to this question. Answer it in words."
_APPROVE, _ALWAYS, _REJECT = "a", "o", "r"
_REACTION_BUTTONS = {_APPROVE: "\U0001f44d", _REJECT: "\u274c"}
"""Reactions that mean the same as a button about all that is asked."""
_ALL = "*"
_MARK_LENGTH = 16
_CALL_LENGTH = 12
_CALLS_LOOKED_THROUGH = 100
"""Calls of a thread that are looked through for what became of a question."""

_ENDED_WORDS = {"superseded": "superseded by a newer message, so it did not run"}

_log = logging.getLogger(__name__)


class Questions:
    """The questions in one messenger's chats."""

    def __init__(self, orchestrator: Orchestrator, messenger: Messenger, delivery: Delivery) -> None:
        self._orchestrator = orchestrator
        self._messenger = messenger
        self._delivery = delivery
        self._messages = Messages(orchestrator.ledger.access)

    async def show(
        self,
        thread: str,
        request: Mapping[str, Any],
        owner: str,
        *,
        near: str | None = None,
        only: str | None = None,
    ) -> list[str]:
        """Put a question to who may answer it; return their chats.

        `only`: to that user alone. In the quiet hours of others than its user they are asked later.
        Where that are approvers, its user is told for whom it waits, and may reject it.
        """
        approvers = request.get("approvers") or [owner]
        reached = []
        for user in dict.fromkeys([*approvers, owner]):
            card = self._orchestrator.settings.users.get(user)
            chat = await self._delivery.chat_with(card, near) if card else None
            if chat is None or only not in {None, user}:
                continue
            if only is None and user != owner and card and is_quiet(card, self._clock(user)):
                continue
            try:
                await self._delivery.put(self._text(chat, thread, request, user, may=user in approvers))
            except ChatGoneError:
                continue  # it is logged there
            reached.append(chat)
        return reached

    async def problem(self, chat: str, user: str, thread: str, request: Mapping[str, Any], key: str) -> None:
        """Say why an answer decided nothing, in reply to the question."""
        asked = await self._messages.questions(self._messenger.name, chat=chat, thread=thread)
        card = asked[-1]["message"] if asked else None
        await self._delivery.put(Outgoing(chat, key, str(request["problem"]), user, thread, reply_to=card))

    async def settle(self) -> None:
        """Mark all questions that wait no more, and say what was decided."""
        stands: dict[str, str] = {}
        for row in await self._messages.questions(self._messenger.name):
            thread = row["thread"]
            if thread not in stands:
                try:
                    stands[thread] = await self._orchestrator.question(thread)
                except UnknownThreadError:
                    stands[thread] = ""
            if row["question"] != stands[thread]:
                await self.mark(row)

    async def mark(self, row: dict[str, Any]) -> None:
        """Take a question's buttons away and say what became of it."""
        try:
            await self._delivery.mark(row, await self.outcome(row))
        except ChatGoneError:
            await self._messages.delivered(row["id"], status="answered")

    async def outcome(self, row: Mapping[str, Any]) -> str:
        """Return what was decided of a question, a line for each call."""
        asked = set(json.loads(row["calls"] or "[]"))
        found = await self._orchestrator.ledger.audit(thread=row["thread"], limit=_CALLS_LOOKED_THROUGH)
        return "\n".join(_decided(each) for each in found if each["call_id"] in asked) or _DECIDED_ALREADY

    async def pressed(self, place: ChatPlace, press: Incoming) -> dict[str, Any] | None:
        """Return the question that a button names; None: there is none.

        After a crash it may stand in the chat twice. The message that nobody knew of loses its buttons then.
        A sign names none: it is about the message that it is on.
        """
        if _is_sign(press):
            return await self._delivery.find(place, press.message)
        _, mark, _ = _read(press.pressed)
        found = await self._messages.question(place, mark)
        if found and found["message"] not in {None, press.message}:
            await self._delivery.take_buttons(place.chat, press.message, found["text"])
        return found

    async def read(
        self, row: dict[str, Any] | None, incoming: Incoming, user: str, request: Mapping[str, Any] | None
    ) -> tuple[list[dict[str, Any]], str]:
        """Return what a pressed button decides, or why it decides nothing.

        Args:
            row: the question that bears it.
            incoming: the press.
            user: who pressed it.
            request: what the thread asks now.
        """
        is_sign = _is_sign(incoming)
        if row is None or not row["question"] or row["user"] != user:
            return [], "" if is_sign else _NOT_YOURS if row else _DECIDED_ALREADY
        if request is None or identity_of(request) != row["question"]:
            return [], await self.outcome(row)
        verb, mark, call = _read(_meant(row, request, incoming.pressed) if is_sign else incoming.pressed)
        if not row["question"].startswith(mark):
            return [], _NO_REACTION_DECIDES if is_sign else await self.outcome(row)
        meant = [each for each in request["action_requests"] if call in {_ALL, _short(each["tool_call_id"])}]
        decisions = [_decision(verb, each) for each in meant]
        return ([], _DECIDED_ALREADY) if None in decisions else ([each for each in decisions if each], "")

    def _clock(self, user: str) -> str:
        now = self._orchestrator.ledger.now()
        return f"{datetime.fromtimestamp(now, self._orchestrator.settings.zone(user)):%H:%M}"

    def _text(self, chat: str, thread: str, request: Mapping[str, Any], user: str, *, may: bool) -> Outgoing:
        identity, text = identity_of(request), card_text(request, may_answer=may)
        kind = "question"
        if len(self._delivery.parts(text)) > _MOST_PARTS:
            names = ", ".join(visible(each["name"]) for each in request["action_requests"])
            kind, text, may = "long question", _TOO_LONG.format(calls=names), False
        calls = [each["tool_call_id"] for each in request["action_requests"]]
        return Outgoing(
            chat,
            f"{kind} {thread} {identity}",
            text,
            user,
            thread,
            buttons=_buttons(request, identity, may_approve=may),
            question=identity,
            calls=json.dumps(calls),
        )


def is_whole(row: Mapping[str, Any]) -> bool:
    """Tell whether all of a question was shown, so that yes counts."""
    return str(row["key"]).startswith("question ")


def _buttons(request: Mapping[str, Any], identity: str, *, may_approve: bool) -> list[list[Button]]:
    actions = request["action_requests"]
    several = len(actions) > 1
    rows = []
    for number, action in enumerate(actions, 1):
        which, call = f"{number}. " if several else "", _short(action["tool_call_id"])
        rows += _rows(action, identity, which, call, may_approve=may_approve)
    if several and may_approve and not any("attempt" in action for action in actions):
        rows.append(_row(identity, _ALL, ("Approve all", _APPROVE), ("Reject all", _REJECT), is_all=True))
    return rows


def _rows(
    action: Mapping[str, Any], identity: str, which: str, call: str, *, may_approve: bool
) -> list[list[Button]]:
    in_doubt = "attempt" in action
    is_all = not (which or in_doubt)
    yes, no = ("Run it again", "Count it as done") if in_doubt else ("Approve", "Reject")
    if not may_approve:
        return [_row(identity, call, (f"{which}{no}", _REJECT), is_all=is_all)]
    rows = [_row(identity, call, (f"{which}{yes}", _APPROVE), (f"{which}{no}", _REJECT), is_all=is_all)]
    if action.get("offer") and not in_doubt:
        rows.append(_row(identity, call, (f"{which}Approve, and always so", _ALWAYS)))
    return rows


def _row(identity: str, call: str, *buttons: tuple[str, str], is_all: bool = False) -> list[Button]:
    signs = _REACTION_BUTTONS if is_all else {}
    mark = identity[:_MARK_LENGTH]
    return [Button(label, f"{verb}{mark}{call}", signs.get(verb, "")) for label, verb in buttons]


def _is_sign(press: Incoming) -> bool:
    return len(press.pressed) == 1


def _meant(row: Mapping[str, Any], request: Mapping[str, Any], sign: str) -> str:
    """Return the data of a sign's button; empty: it has none."""
    shown = _buttons(request, row["question"], may_approve=is_whole(row))
    return next((button.data for buttons in shown for button in buttons if button.sign == sign), "")


def _read(data: str) -> tuple[str, str, str]:
    """Return verb, question and call of a button's data."""
    return data[:1], data[1 : 1 + _MARK_LENGTH].ljust(_MARK_LENGTH, "?"), data[1 + _MARK_LENGTH :]


def _short(call_id: str) -> str:
    return hashlib.sha256(call_id.encode()).hexdigest()[:_CALL_LENGTH]


def _decision(verb: str, action: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return a decision that names its call; None: the button bears none."""
    call = {"tool_call_id": action["tool_call_id"]}
    if verb == _ALWAYS and action.get("offer"):
        return {"type": "approve", "remember": action["offer"]["remember"], **call}
    kind = {_APPROVE: "approve", _REJECT: "reject"}.get(verb)
    return {"type": kind, **call} if kind else None


def _decided(call: Mapping[str, Any]) -> str:
    again: Sequence[Mapping[str, Any]] = [each for each in call["unknown_outcomes"] if each["decision"]]
    last = again[-1] if again else call
    name = visible(call["tool"])
    if not last["decided_by"]:
        return f"{name}: {_ENDED_WORDS.get(call['status'], call['status'])}."
    ended = "; it came too late, so it did not run" if call["status"] == "expired" else ""
    return f"{name}: {last['decision']} by {visible(last['decided_by'])}{ended}."
