"""What a conversation's checkpoint holds: plain data, returned as changes, never edited."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any, Literal, NotRequired, Self

from langchain_core.messages import (
    AIMessageChunk,
    AnyMessage,
    BaseMessage,
    RemoveMessage,
    convert_to_messages,
    message_chunk_to_message,
)
from langgraph.channels.delta import DeltaChannel
from langgraph.graph.message import REMOVE_ALL_MESSAGES
from typing_extensions import TypedDict  # pydantic, which draws the schemas, asks for it below Python 3.12

SNAPSHOT_AFTER = 1_000
"""Updates before the first whole copy of the conversation, at the least; see `_Kept`."""

Path = Literal["two-brain", "single", "direct"]
Verdict = Literal["run", "ask", "refuse"]
"""`run` also for what execute_tools will find it cannot run: a failure is a result too."""


def append(conversation: list[AnyMessage], writes: Sequence[Any]) -> list[AnyMessage]:
    """Return the conversation with the written messages at its end.

    Deterministic and the same however writes are batched, as a delta channel replays them: a message
    without an id gets one from its place and content. A message whose id is already there is
    ignored, so that nobody rewrites what was said; `RemoveMessage` takes one away, or all.
    """
    result = _Conversation(conversation)
    for message in _messages(writes):
        if isinstance(message, RemoveMessage):
            is_all = message.id == REMOVE_ALL_MESSAGES
            result = _Conversation([] if is_all else [m for m in result if m.id != message.id])
            continue
        named = message if message.id else message.model_copy(update={"id": _new_id(message, result)})
        if not result.holds(named.id):
            result.add(named)
    return result


class _Conversation(list[AnyMessage]):
    """Messages, and where each id can stand in them, so that none need be looked through for one more.

    Lists that grew from one share what they know, and each has at a place what it has there.
    """

    __slots__ = ("_places",)

    def __init__(self, messages: Iterable[AnyMessage]) -> None:
        super().__init__(messages)
        self._places: dict[str | None, tuple[int, ...]] = {}
        if isinstance(messages, _Conversation):
            self._places = messages._places  # noqa: SLF001 (its own class)
        else:
            for place, message in enumerate(self):
                self._place(message.id, place)

    def holds(self, message_id: str | None) -> bool:
        places = self._places.get(message_id, ())
        return any(place < len(self) and self[place].id == message_id for place in places)

    def add(self, message: AnyMessage) -> None:
        self._place(message.id, len(self))
        self.append(message)

    def _place(self, message_id: str | None, place: int) -> None:
        known = self._places.get(message_id, ())
        if place not in known:
            self._places[message_id] = (*known, place)


class _Kept(DeltaChannel[list[AnyMessage]]):
    """Keeps what it knows of the ids to itself: whoever reads it gets a plain list.

    A whole copy is kept each time the conversation has doubled: the copies together, and what is replayed to
    load it, grow with the conversation and not with its square.
    """

    __slots__ = ("_least",)

    @property
    def snapshot_frequency(self) -> int:
        """Updates between whole copies."""
        return max(self._least, len(self.value) // 2 if self.is_available() else 0)

    @snapshot_frequency.setter
    def snapshot_frequency(self, least: int) -> None:
        self._least = least

    def copy(self) -> Self:
        new = type(self)(self.reducer, self.typ, snapshot_frequency=self._least)
        new.key, new.value = self.key, self.value  # which is never changed: `append` returns another
        return new

    def get(self) -> list[AnyMessage]:
        return list(super().get())


def _messages(writes: Sequence[Any]) -> Iterable[Any]:
    for write in writes:
        one_by_one = write if isinstance(write, list | tuple) else [write]
        for item in one_by_one:
            message = item if isinstance(item, BaseMessage) else convert_to_messages([item])[0]
            whole = isinstance(message, AIMessageChunk)
            yield message_chunk_to_message(message) if whole else message


def _new_id(message: BaseMessage, before: _Conversation) -> str:
    place = len(before)
    while True:
        seed = f"{place}\0{message.type}\0{message.content!r}"
        made = hashlib.sha256(seed.encode()).hexdigest()[:32]
        if not before.holds(made):
            return made
        place += 1


Messages = Annotated[list[AnyMessage], _Kept(append, snapshot_frequency=SNAPSHOT_AFTER)]


class Planned(TypedDict):
    """A call of the current round, as policy judged it."""

    id: str
    name: str
    args: dict[str, Any]
    problem: str | None
    """What was wrong with the arguments on the wire; None where they are whole."""
    verdict: Verdict
    reason: str
    """Why it asks or is refused, in words; empty where it runs."""


class Decided(TypedDict):
    """What a person decided about a call."""

    approved: bool
    args: dict[str, Any]
    """The arguments that run: the edited ones where they were edited."""
    message: str
    recorded: NotRequired[bool]
    """The ledger had the consent on record, so that one which has not is older than that."""


class Basis(TypedDict):
    """What the turn had read when the round's calls were made; see `tools.policy.decision.Read`."""

    strangers: list[str]
    links: list[str]


class Task(TypedDict):
    """One call to execute, as a route sends it."""

    call: Planned
    args: dict[str, Any]
    """What runs: the edited arguments where a person edited them."""
    made: NotRequired[bool]
    """False: no model made it in this conversation, so that nothing may come of it."""
    recorded: NotRequired[bool]
    """As in `Decided`."""
    thread: str
    turn: str
    choices: dict[str, Any]
    planner: str
    basis: Basis
    next: Literal["plan", "explain"]


class Input(TypedDict):
    """What a client sends: the new message, in any form LangChain reads."""

    messages: Messages


class Output(TypedDict, total=False):
    """What a turn gives back; the keys of `graphs.result.Result`."""

    messages: Messages
    response: str
    tool_calls: list[dict[str, Any]]
    backend: str | None
    summary: str
    receipts: list[dict[str, Any]]
    pending: dict[str, Any] | None
    usage: dict[str, Any]
    stop_reason: str | None


@dataclass(frozen=True, kw_only=True)
class State:
    """Everything a step reads. Times are Unix seconds."""

    messages: Messages = field(default_factory=list)
    tail: str = ""
    """Id of the last message that a step of ours wrote or admitted: what follows came from a client."""
    thread: str = ""
    """Name under which the ledger keeps this conversation."""
    turn: str = ""
    """Id of the message that the turn answers."""
    choices: dict[str, Any] = field(default_factory=dict)
    """What was chosen in the context when the turn began, for a resume that does not repeat it."""
    path: Path = "two-brain"
    respond: bool = True
    started_at: float = 0.0
    waited_s: float = 0.0
    """Seconds of this turn that a person took to decide."""
    rounds: int = 0
    """Planner calls of this turn."""
    calls: list[Planned] = field(default_factory=list)
    """Calls of the current round; empty once the planner is done."""
    planner: str = ""
    """Registry name of the model that planned the current round."""
    basis: Basis = field(default_factory=lambda: Basis(strangers=[], links=[]))
    """What the turn had read when the current round was planned."""
    request: dict[str, Any] = field(default_factory=dict)
    """The confirmation request of the current round."""
    asked_at: float = 0.0
    problem: str = ""
    """Why the last answer to the confirmation was not understood."""
    decisions: dict[str, Decided] = field(default_factory=dict)
    response: str = ""
    tool_calls: list[dict[str, Any]] = field(default_factory=list)
    backend: str | None = None
    summary: str = ""
    receipts: list[dict[str, Any]] = field(default_factory=list)
    pending: dict[str, Any] | None = None
    usage: dict[str, Any] = field(default_factory=dict)
    stop_reason: str | None = None

    @cached_property
    def after_request(self) -> list[AnyMessage]:
        """The turn's messages after its request."""
        for back, message in enumerate(reversed(self.messages)):
            if message.id == self.turn:
                return self.messages[len(self.messages) - back :]
        return []


class Update(TypedDict, total=False):
    """The changes a step returns."""

    messages: Sequence[AnyMessage | RemoveMessage]
    tail: str
    thread: str
    turn: str
    choices: dict[str, Any]
    path: Path
    respond: bool
    started_at: float
    waited_s: float
    rounds: int
    calls: list[Planned]
    planner: str
    basis: Basis
    request: dict[str, Any]
    asked_at: float
    problem: str
    decisions: dict[str, Decided]
    response: str
    tool_calls: list[dict[str, Any]]
    backend: str | None
    summary: str
    receipts: list[dict[str, Any]]
    pending: dict[str, Any] | None
    usage: dict[str, Any]
    stop_reason: str | None
