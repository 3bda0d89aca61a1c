"""What the conversation says of a turn, parsed once."""

import json
import re
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from threading import Lock
from typing import Any, NamedTuple

from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, HumanMessage, ToolMessage
from typing_extensions import TypedDict

from base.texts import is_blank, visible
from ledger.records import fingerprint
from models.media import attached
from models.replies import MALFORMED, chars_beside
from tools.declaration import Tool

TITLE = "title"
"""Key, in the additional_kwargs of a message, of what its conversation is called, where that is not its text:
it may be in others' words, and no model is shown it."""
TAINT = "taint"
"""Key, in the additional_kwargs of an answer, of calls or of a task planned earlier, of the taint they were
written after. On a message of the person's it makes the words nobody's."""
NOTE = "note"
"""Key, in the additional_kwargs of an answer, of its last paragraph where no model is to read that again."""
QUESTION = "question"
"""Key, in the additional_kwargs of a message, that it is our words on a question, and no model's answer."""
MEDIA_CHARS = 6_000
"""For which a picture or the like counts, about: 1,500 tokens, as of a picture in Anthropic's guide."""
AROUND = 80
"""Characters of ids, names and brackets around a message or call on the wire."""
_TOOL_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""A name of a form that providers know; another may be a sentence."""
_RECEIPT_CHARS = 200
_MOST_TURNS = 64


class StoredRange(TypedDict):
    """Where a long result is stored, in bytes; the end is exclusive."""

    handle: str
    start: int
    """Not 0, or the end not the size, where the result is a page of a stored one."""
    end: int
    size: int
    """Of all that is stored under the handle."""


@dataclass(frozen=True, slots=True)
class CallResult:
    """What became of a call."""

    message: ToolMessage
    status: str
    """See `ledger.records.Status`."""
    text: str
    untrusted: bool
    """The text holds what others wrote."""
    denied: bool
    """It was a person who said no to the call."""
    edited_args: dict[str, Any] | None
    """What ran, where a person edited the arguments."""
    stored: StoredRange | None
    """None where the text is all of it."""
    is_plain: bool
    """A model may read it as it is: it need not be fenced, and is neither stored nor of edited arguments."""
    length: int
    """Of all of it; bytes where it is stored, else characters."""


@dataclass(frozen=True, slots=True)
class TurnCall:
    """A call as its model made it."""

    id: str
    name: str
    args: dict[str, Any]
    problem: str | None
    """What was wrong with the arguments on the wire; None where they are whole."""
    _fingerprints: dict[Tool | None, str] = field(default_factory=dict, compare=False, repr=False)
    """By the tool that takes it: a turn's calls are compared again in each round."""

    def fingerprint(self, tool: Tool | None) -> str:
        """Return what is the same for calls that a tool takes alike."""
        if tool not in self._fingerprints:
            made = tool.fingerprint(self.args) if tool else fingerprint(self.name, self.args)
            self._fingerprints[tool] = made
        return self._fingerprints[tool]


class FinishedCall(NamedTuple):
    """A call that has its result."""

    call: TurnCall
    result: CallResult

    @property
    def args(self) -> dict[str, Any]:
        """What ran: the edited arguments where a person edited them."""
        return self.call.args if self.result.edited_args is None else self.result.edited_args


@dataclass(frozen=True, slots=True)
class Round:
    """One message of the planner that makes calls."""

    message: AIMessage
    """Without our own marks, which no provider knows."""
    calls: tuple[TurnCall, ...]
    chars: int
    """About what it takes on the wire."""


@dataclass(frozen=True, slots=True)
class TurnHistory:
    """A turn's rounds and results until now."""

    request: HumanMessage
    before: int = 0
    """Messages of the conversation that came before the request."""
    rounds: tuple[Round, ...] = ()
    calls: tuple[TurnCall, ...] = ()
    """Of all rounds, in the order they were made."""
    results: Mapping[str, CallResult] = field(default_factory=dict)
    """By call id; the first result of a call counts."""

    def finished(self) -> list[FinishedCall]:
        """Return the calls that have a result, in their order."""
        return [FinishedCall(c, self.results[c.id]) for c in self.calls if c.id in self.results]

    def followed_by(self, messages: Iterable[AnyMessage]) -> "TurnHistory":
        """Return the history with further messages; this one stays as it is."""
        rounds, calls, results = list(self.rounds), list(self.calls), dict(self.results)
        for message in messages:
            if isinstance(message, ToolMessage):
                results.setdefault(message.tool_call_id, _result(message))
            elif isinstance(message, AIMessage) and message.tool_calls:
                rounds.append(round_of(message))
                calls += rounds[-1].calls
        return TurnHistory(self.request, self.before, tuple(rounds), tuple(calls), results)


class Utterance(NamedTuple):
    """What person or assistant said before the turn."""

    by_person: bool
    text: str
    unanswered: str | None = None
    """What the person's message called for, where no answer came: each tool and its status; else None."""
    taints: tuple[Any, ...] = ()
    """What the assistant's words, or the calls of `unanswered`, were written after: each a
    `nodes.state.StoredTaint`, if it is our own."""
    attachments: tuple[Mapping[str, Any], ...] = ()
    """Blocks beside the person's words, as far as they are to be shown again."""


_lock = Lock()
_parsed: OrderedDict[str, tuple[Sequence[AnyMessage], TurnHistory]] = OrderedDict()
"""The latest turns, each with the messages it was parsed from.

A round then costs the same after any number of rounds: without it, the 200th round of a turn takes 2 ms
to parse what the 199th had parsed. A history is used where the messages begin with those it came from.
"""


def read_turn(conversation: Sequence[AnyMessage], turn: str) -> TurnHistory:
    """Return the history of the turn that answers a message."""
    with _lock:
        parsed, history = _parsed.get(turn, ((), None))
    # The same objects compare at once.
    if history is None or conversation[history.before :][: len(parsed)] != parsed:
        before = place_of(conversation, turn)
        if before is None:
            return TurnHistory(HumanMessage("", id=turn), len(conversation))
        parsed = conversation[before : before + 1]
        asked = conversation[before]
        marks = {key: value for key, value in asked.additional_kwargs.items() if key == TAINT}
        history = TurnHistory(HumanMessage(asked.content, id=turn, additional_kwargs=marks), before)
    history = history.followed_by(conversation[history.before + len(parsed) :])
    with _lock:
        _parsed[turn] = (conversation[history.before :], history)
        _parsed.move_to_end(turn)
        if len(_parsed) > _MOST_TURNS:
            _parsed.popitem(last=False)
    return history


def place_of(conversation: Sequence[AnyMessage], message_id: str) -> int | None:
    """Return where the last message of an id stands; None: nowhere."""
    for back, message in enumerate(reversed(conversation), 1):  # from the end: it may be long
        if message.id == message_id:
            return len(conversation) - back
    return None


def round_of(message: AIMessage) -> Round:
    """Return a planner's message with its calls."""
    problems = message.additional_kwargs.get(MALFORMED, {})
    calls = tuple(
        TurnCall(c["id"] or "", c["name"], c["args"], problems.get(c["id"])) for c in message.tool_calls
    )
    chars = (
        AROUND
        + len(message.text)
        + chars_beside(message)
        + sum(AROUND + len(as_json(call.args)) for call in calls)
    )
    sent = {key: value for key, value in message.additional_kwargs.items() if key not in {MALFORMED, TAINT}}
    return Round(message.model_copy(update={"additional_kwargs": sent}), calls, chars)


def _result(message: ToolMessage) -> CallResult:
    artifact = message.artifact if isinstance(message.artifact, dict) else {}
    text, stored, edited = message.text, artifact.get("stored"), artifact.get("args")
    untrusted = bool(artifact.get("untrusted"))
    return CallResult(
        message=message,
        status=artifact.get("status") or ("executed" if message.status == "success" else "failed"),
        text=text,
        untrusted=untrusted,
        denied=bool(artifact.get("denied")),
        edited_args=edited,
        stored=stored,
        is_plain=not untrusted and stored is None and edited is None,
        length=stored["end"] - stored["start"] if stored else len(text),
    )


def not_executed(call: TurnCall) -> CallResult:
    """Return what stands for a missing result: providers refuse open calls."""
    return _result(result_message({"id": call.id, "name": call.name}, "denied", "Not executed."))


def results_in(messages: Iterable[BaseMessage]) -> dict[str, CallResult]:
    """Return each result under its call's id; the first one counts."""
    results: dict[str, CallResult] = {}
    for message in messages:
        if isinstance(message, ToolMessage):
            results.setdefault(message.tool_call_id, _result(message))
    return results


def calls_in(messages: Iterable[BaseMessage]) -> Iterator[Any]:
    """Return each call (`id`, `name`, `args`) made in these messages, in order."""
    return chain.from_iterable(each.tool_calls for each in messages if isinstance(each, AIMessage))


def open_calls(messages: Sequence[AnyMessage]) -> list[Any]:
    """Return the calls that have no result."""
    answered = results_in(messages)
    return [call for call in calls_in(messages) if call["id"] not in answered]


def last_round_ids(conversation: Sequence[AnyMessage]) -> set[str | None]:
    """Return the ids of the calls of the conversation's last round."""
    rounds = (m for m in reversed(conversation) if isinstance(m, AIMessage) and m.tool_calls)
    return {call["id"] for call in calls_in(islice(rounds, 1))}


def texts_of_person(conversation: Iterable[AnyMessage]) -> list[str]:
    """Return the texts of the person's messages, without marked ones."""
    persons = (message for message in conversation if isinstance(message, HumanMessage))
    return [message.text for message in persons if TAINT not in message.additional_kwargs]


def said_before(
    conversation: Sequence[AnyMessage], before: int, most: int | None, most_chars: int
) -> list[Utterance]:
    """Return what was said before a turn, beginning with the person.

    Args:
        conversation: all of it.
        before: how many of its messages came before the turn.
        most: utterances; None: any number.
        most_chars: characters; an utterance is there whole or not at all.
    """
    said: list[Utterance] = []
    since: list[AnyMessage] = []  # what came after a message and before the person's next, the latest first
    taken = 0
    for message in reversed(conversation[:before]):
        utterance = _utterance(message, since, is_answered=bool(said) and not said[-1].by_person)
        since.append(message)
        if isinstance(message, HumanMessage):
            since = []
        if utterance is None:
            continue
        taken += AROUND + len(utterance.text)
        if taken > most_chars:
            break
        shown, more = _that_fit(message.content if utterance.by_person else "", (most_chars - taken) // 2)
        taken += more
        said.append(utterance._replace(attachments=shown))
        if len(said) == most:
            break
    while said and not said[-1].by_person:
        said.pop()
    return said[::-1]


def _that_fit(content: Any, chars: int) -> tuple[tuple[Mapping[str, Any], ...], int]:
    """Return the attachments that fit, and how many characters they take."""
    blocks, taken = [], 0
    for block, each in attached(content):
        more = MEDIA_CHARS if each.text is None else each.size
        if taken + more <= chars:
            blocks.append(block)
            taken += more
    return tuple(blocks), taken


def _utterance(message: AnyMessage, since: Sequence[AnyMessage], *, is_answered: bool) -> Utterance | None:
    """Return a message as words; None where it has none."""
    if isinstance(message, HumanMessage):
        names = [visible(each.name) or "a file" for _, each in attached(message.content)]
        beside = [f"[with attachments: {', '.join(names)}]"] if names else []
        text = "\n".join([message.text, *beside]).strip()
        unanswered, taints = (None, ()) if is_answered else _called_for(since[::-1])
        if TAINT in message.additional_kwargs:
            taints = (*taints, message.additional_kwargs[TAINT])
        return (
            None
            if is_blank(text)
            else Utterance(by_person=True, text=text, unanswered=unanswered, taints=taints)
        )
    if isinstance(message, AIMessage) and QUESTION in message.additional_kwargs:
        return None
    if isinstance(message, AIMessage) and not message.tool_calls and not is_blank(message.text):
        note = message.additional_kwargs.get(NOTE)
        text = message.text.removesuffix(f"\n\n{note}") if isinstance(note, str) else message.text
        return Utterance(by_person=False, text=text, taints=(message.additional_kwargs.get(TAINT),))
    return None


def _called_for(messages: Sequence[AnyMessage]) -> tuple[str, tuple[Any, ...]]:
    """Return what an unanswered turn called for, and its taints."""
    outcomes, taints = [], []
    for message in messages:
        if isinstance(message, ToolMessage):
            name = message.name if _TOOL_NAME.fullmatch(message.name or "") else "no tool"
            outcomes.append(f"{name}: {_result(message).status}")
        elif isinstance(message, AIMessage) and message.tool_calls:
            taints.append(message.additional_kwargs.get(TAINT))
    return ", ".join(outcomes), tuple(taints)


def result_message(  # noqa: PLR0913 (all that is kept of a result)
    call: Mapping[str, Any],
    status: str,
    text: str,
    args: dict[str, Any] | None = None,
    *,
    untrusted: bool = False,
    stored: StoredRange | None = None,
    denied: bool = False,
) -> ToolMessage:
    """Return a call's result as the message that the conversation keeps.

    Args:
        call: its `id`, `name` and `args` as the model wrote them.
        status: what became of it; see `ledger.records.Status`.
        text: what the model is to read.
        args: the arguments that ran, where a person edited them.
        untrusted: the text holds what others wrote.
        stored: where all of it is, where the text is only its two ends.
        denied: a person said no to it.
    """
    artifact: dict[str, Any] = {"status": status}
    if denied:
        artifact["denied"] = True
    if stored:
        artifact["stored"] = stored
    if untrusted:
        artifact["untrusted"] = True
    if args is not None and args != call["args"]:
        artifact["args"] = args
    return ToolMessage(
        id=f"result-{call['id']}",
        content=text,
        tool_call_id=call["id"],
        name=call["name"],
        status="success" if status == "executed" else "error",
        artifact=artifact,
    )


def as_receipts(finished: Iterable[FinishedCall]) -> list[dict[str, Any]]:
    """Return one short machine-made line for each call."""
    return [
        {
            "tool": call.name,
            "call_id": call.id,
            "status": result.status,
            "text": _cut(result.text, _RECEIPT_CHARS),
        }
        for call, result in finished
    ]


def as_list(finished: Iterable[FinishedCall], most_chars: int = 500) -> str:
    """Return finished calls as a plain list, for where no model writes."""
    return "\n".join(
        f"- {each.call.name}({as_json(each.args)}): {each.result.status}: "
        f"{_cut(each.result.text, most_chars)}"
        for each in finished
    )


def as_json(value: Any) -> str:
    """Return a value as JSON with every letter as it is."""
    return json.dumps(value, ensure_ascii=False)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}…"
