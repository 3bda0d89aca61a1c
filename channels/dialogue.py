"""Questions as text in chats, and what typed answers to them mean."""

import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Any

from langchain_core.messages import AnyMessage

from base.errors import UnknownThreadError
from base.texts import as_text, escaped
from graphs.attachments import Attachment
from graphs.result import Result, outcomes_of
from graphs.session import Orchestrator
from graphs.stream import Confirmation, Done, Event
from nodes.context import Context
from nodes.gate.answers import Check, fault, plain_answer, read, read_json
from nodes.gate.request import code_block, identity_of, own_description

CODE_LENGTH = 6
_MARK = "Question"
_CODE = re.compile(rf"\[{_MARK} ([0-9a-f]{{{CODE_LENGTH}}})\]\s*$")
_NEW = re.compile(r"\s*(?:/new|new:)(?:\s+|$)", re.IGNORECASE)
"""How a message begins that is not about the question which waits."""
_EDIT = re.compile(r"\s*edit\b[ \t]*:?", re.IGNORECASE)
_NAMED = re.compile(r"\s*([A-Za-z_][\w-]*)\s*[:=] ?(.*)", re.DOTALL)
_REJECTED = re.compile(r"\s*(?:no|reject)\s*[,:.-]\s*(.+)", re.IGNORECASE | re.DOTALL)
_ALWAYS = "always"
_NOT_UNDERSTOOD = "That is no answer to what I asked, so nothing was done."
_OLDER_QUESTION = "That answers an older question, so it counts for nothing. This is what waits now."

Decision = dict[str, Any]


def code_of(request: Mapping[str, Any]) -> str:
    """Return the short code by which a text names a question."""
    return identity_of(request)[:CODE_LENGTH]


def code_in(text: str) -> str | None:
    """Return the code of the question that ends a text, if any."""
    found = _CODE.search(text)
    return found[1] if found else None


def card_text(request: Mapping[str, Any], *, may_answer: bool = True) -> str:
    """Return a question as text: each call exactly, and how to answer.

    It ends with the question's code. Nothing in it is Markdown's but the fences, in which all stands that a
    model or a stranger wrote.
    """
    actions = request["action_requests"]
    cards = [_card(action, number, len(actions)) for number, action in enumerate(actions, 1)]
    words = [str(request["problem"])] if request.get("problem") else []
    how = [_how_to_answer(request)] if may_answer else []  # for whom it waits, each card says
    return "\n\n".join([*words, *cards, *how, f"[{_MARK} {code_of(request)}]"])


def _card(action: Mapping[str, Any], number: int, count: int) -> str:
    which = f" ({number} of {count})" if count > 1 else ""
    what = "Did it happen" if "attempt" in action else "Please confirm"
    lines = [f"{name}: {_exact(value)}" for name, value in action["args"].items()]
    exact = code_block("\n".join([escaped(action["name"]), *lines]))
    about = own_description(action)
    offer = f'"{_ALWAYS}" allows: `{action["offer"]["text"]}`' if action.get("offer") else ""
    return "\n\n".join(part for part in (f"{what}{which}:", exact, about, offer) if part)


def _exact(value: Any) -> str:
    return escaped(value if isinstance(value, str) else as_text(value))


def _how_to_answer(request: Mapping[str, Any]) -> str:
    actions = request["action_requests"]
    if any("attempt" in action for action in actions):
        ways = 'Answer "yes" to run it again, or "no" to count it as done.'
    else:
        always = f'"{_ALWAYS}", ' if any(action.get("offer") for action in actions) else ""
        ways = f'Answer "yes", {always}"no" or "no: why", or "edit" with lines such as "name: new value".'
    several = f' A line such as "2 no" is about one of the {len(actions)} alone.' if len(actions) > 1 else ""
    return f'{ways}{several} To ask for something else instead, begin with "/new".'


@dataclass(frozen=True, slots=True)
class Understood:
    """What a typed reply to a question says."""

    answer: dict[str, Any] | None = None
    """Decisions that each name their call; None: it decides nothing."""
    message: str | None = None
    """A request that begins something else."""
    problem: str = ""
    """Why it decides nothing, where it is no other request."""


def understood(text: str, request: Mapping[str, Any], check: Check) -> Understood:
    """Return what a typed reply decides of a question.

    `yes` and `no` are about all its calls; lines that begin with a number, about one each.
    """
    actions = request["action_requests"]
    said = _lines_by_number(text, len(actions)) or dict.fromkeys(range(len(actions)), text)
    if len(said) == len(actions) > 1 and _EDIT.match(text):
        return Understood(problem=f'{_NOT_UNDERSTOOD} Begin with the number of the call, as in "2 edit …".')
    decisions = []
    for number, words in said.items():
        try:
            decision = _decision(words, actions[number])
        except ValueError as error:
            return Understood(problem=f"{_NOT_UNDERSTOOD} {error}")
        decisions.append({**decision, "tool_call_id": actions[number]["tool_call_id"]})
    answer = {"decisions": decisions}
    reading = read(answer, actions, check)
    is_clear = len(reading.choices) == len(decisions)
    return Understood(answer=answer) if is_clear else Understood(problem=reading.problem)


def _lines_by_number(text: str, count: int) -> dict[int, str]:
    """Return what is said of each numbered call; empty: nothing is numbered."""
    found: dict[int, str] = {}
    parts = re.split(r"^\s*(\d{1,3})[.:)]?[ \t]+", text, flags=re.MULTILINE) if count > 1 else [text]
    if parts[0].strip():
        return {}
    for number, words in zip(parts[1::2], parts[2::2], strict=True):
        place = int(number) - 1
        if place in found or not 0 <= place < count:
            return {}
        found[place] = words
    return found


def _decision(text: str, action: Mapping[str, Any]) -> Decision:
    """Return what words decide about a call.

    Raises:
        ValueError: they decide nothing.
    """
    if (is_yes := plain_answer(text)) is not None:
        return {"type": "approve" if is_yes else "reject"}
    if text.strip().lower() == _ALWAYS and action.get("offer"):
        return {"type": "approve", "remember": action["offer"]["remember"]}
    if rejected := _REJECTED.fullmatch(text):
        return {"type": "reject", "message": rejected[1].strip()}
    if edit := _EDIT.match(text):
        edited = {**action["args"], **_edited(text[edit.end() :], action["args"])}
        return {"type": "edit", "edited_action": {"name": action["name"], "args": edited}}
    raise ValueError("")


def _edited(text: str, args: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments that lines `name: value`, or JSON, give anew.

    Raises:
        ValueError: it is neither, or names one that the call does not have.
    """
    if text.strip().startswith("{"):
        found = read_json(text)
        return found if isinstance(found, dict) else {}
    edited: dict[str, Any] = {}
    name = None
    for line in text.strip().split("\n"):
        named = _NAMED.fullmatch(line)
        if named and named[1] in args and named[1] not in edited:
            name = named[1]
            edited[name] = named[2]
        elif name is None:
            raise ValueError(f'An edit has lines such as "{next(iter(args), "name")}: new value".')
        else:  # a value of several lines
            edited[name] += f"\n{line}"
    return {each: _as_before(value, args[each]) for each, value in edited.items()}


def _as_before(text: str, before: Any) -> Any:
    """Return what is typed for a value: no text becomes JSON."""
    return text if isinstance(before, str) else read_json(text)


class Dialogue:
    """A person's turns in a program that shows text."""

    def __init__(self, orchestrator: Orchestrator, user: str) -> None:
        self._orchestrator = orchestrator
        self._user = user

    async def say(  # noqa: PLR0913 (one message, whole)
        self,
        thread: str,
        text: str,
        *,
        attachments: Sequence[Attachment] = (),
        shown: str | None,
        context: Context | None = None,
        message_id: str | None = None,
        before: Sequence[AnyMessage] = (),
    ) -> AsyncGenerator[Event, None]:
        """Take what a person wrote as an answer or a request.

        Where a question waits, it is answered by what decides it alone; all else asks again. What answers a
        question that no longer stands is told what became of it.

        Args:
            thread: the conversation; an unknown one is begun.
            text: what they wrote.
            attachments: files that came with it.
            shown: the code of the question that they saw last; None: they saw none.
            context: the choices of a turn that this begins.
            message_id: the same for a message that is sent again.
            before: what was said in the other program, where the conversation begins here.

        Raises:
            NothingPendingError: it answers what is decided already.
        """
        waits = await self.waiting(thread)
        if message_id and await self._asked_by(thread) == message_id:  # this very message was sent again
            again = self._asked_again(thread, "") if waits else self.go_on(thread)
            async with aclosing(again) as events:
                async for event in events:
                    yield event
            return
        is_new = waits is None and not await self._orchestrator.ledger.thread(thread)
        said = await self._understood(text, waits, None if is_new else shown)
        if said.message is not None:
            events = self._orchestrator.stream(
                said.message,
                attachments=attachments,
                thread_id=thread,
                context=self._context(context),
                message_id=message_id,
                before=before,
            )
        elif said.answer is not None:
            events = self._orchestrator.stream_resume(thread, said.answer, context=self._context())
        else:
            events = self._asked_again(thread, said.problem)
        async with aclosing(events):
            async for event in events:
                yield event

    def answer(self, thread: str, decisions: Sequence[Decision]) -> AsyncGenerator[Event, None]:
        """Take decisions that name their calls, and run on."""
        answer = {"decisions": [*decisions]}
        return self._orchestrator.stream_resume(thread, answer, context=self._context())

    async def waiting(self, thread: str) -> dict[str, Any] | None:
        """Return the question that a thread waits with; None: it asks nothing."""
        try:
            return (await self.result(thread)).pending
        except UnknownThreadError:
            return None  # nothing of it is stored yet; whose it is, is looked at when it runs

    def go_on(self, thread: str) -> AsyncGenerator[Event, None]:
        """Go on with a turn, or tell how it ended."""
        return self._orchestrator.stream_proceed(thread, context=self._context())

    async def result(self, thread: str) -> Result:
        """Return how a thread stands; raises as `Orchestrator.result`."""
        return await self._orchestrator.result(thread, context=self._context())

    def may_answer(self, request: Mapping[str, Any]) -> bool:
        """Tell whether this person's yes counts for a question."""
        return not request.get("approvers") or self._user in request["approvers"]

    def _context(self, chosen: Context | None = None) -> Context:
        given = chosen.model_dump(exclude_unset=True) if chosen else {}
        return Context.model_validate({"confirmation": "template", **given, "user": self._user})

    async def _understood(self, text: str, waits: Mapping[str, Any] | None, shown: str | None) -> Understood:
        if _NEW.match(text):
            return Understood(message=_NEW.sub("", text, count=1))
        if waits is None:
            is_overdue = shown is not None and _is_answer(text)  # which is told what was decided
            return Understood(answer={"decisions": []}) if is_overdue else Understood(message=text)
        if shown != code_of(waits):
            return Understood(problem=_OLDER_QUESTION if shown else _NOT_UNDERSTOOD)
        return understood(text, waits, partial(fault, await self._orchestrator.all_tools()))

    async def _asked_by(self, thread: str) -> str:
        """Return the id of the message that began the turn, if any."""
        try:
            found = await self._orchestrator.snapshot(thread, context=self._context())
        except UnknownThreadError:
            return ""
        return str(found.values.get("turn", ""))

    async def _asked_again(self, thread: str, problem: str) -> AsyncGenerator[Event, None]:
        result = await self.result(thread)
        if result.pending:
            yield Confirmation({**result.pending, **({"problem": problem} if problem else {})})
        yield Done(result)


def _is_answer(text: str) -> bool:
    """Tell whether words can only be meant as an answer."""
    said = text.strip().lower()
    return plain_answer(text) is not None or said == _ALWAYS or bool(_REJECTED.fullmatch(text))


def receipts_text(result: Result) -> str:
    """Return what a turn did: `done: get_time (2) · denied: delete_file`."""
    told = [f"{outcome}: {tools}" for outcome, tools in outcomes_of(result).items()]
    return escaped(" · ".join(told))
