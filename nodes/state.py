"""What a conversation's checkpoint holds: plain data, returned as changes, never edited."""

import hashlib
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field, fields
from typing import Annotated, Any, Literal, NotRequired, Self, cast, get_type_hints

from langchain_core.messages import (
    AIMessageChunk,
    AnyMessage,
    BaseMessage,
    RemoveMessage,
    convert_to_messages,
    message_chunk_to_message,
)
from langgraph.channels.delta import DeltaChannel
from langgraph.checkpoint.base import PendingWrite
from langgraph.graph.message import REMOVE_ALL_MESSAGES
from typing_extensions import TypedDict  # pydantic, which draws the schemas, asks for it below Python 3.12

from base.run_context import PathName

SNAPSHOT_AFTER = 1_000
"""Updates before the first whole copy of the conversation, at the least; see `ConversationChannel`."""

Verdict = Literal["run", "ask", "refuse"]
"""`run` also for what execute_tools will find it cannot run: a failure is a result too."""


def append(conversation: Sequence[AnyMessage], writes: Sequence[Any]) -> list[AnyMessage]:
    """Return the conversation with the written messages at its end.

    Deterministic and the same however writes are batched, as a delta channel replays them: a message
    without an id gets one from its place and content. A message whose id is already there is
    ignored, so that nobody rewrites what was said; `RemoveMessage` takes one away, or all.
    """
    by_id: dict[Any, AnyMessage] = {message.id: message for message in _decoded(conversation)}
    for message in _messages(writes):
        if not isinstance(message, RemoveMessage):
            named = message if message.id else message.model_copy(update={"id": _new_id(message, by_id)})
            by_id.setdefault(named.id, named)
        elif message.id == REMOVE_ALL_MESSAGES:
            by_id.clear()
        else:
            by_id.pop(message.id, None)
    return list(by_id.values())


class ConversationChannel(DeltaChannel[list[AnyMessage]]):
    """Stores what was appended, and a copy each time it doubles.

    The copies together, and what is replayed to load the conversation, grow with it and not with its square.
    A server decodes a copy to dicts, and a client may overwrite the conversation with some: what is read is
    messages always.
    """

    __slots__ = ("_least",)

    @property
    def snapshot_frequency(self) -> int:
        """Updates between whole copies."""
        return max(self._least, len(self.value) // 2 if self.is_available() else 0)

    @snapshot_frequency.setter
    def snapshot_frequency(self, least: int) -> None:
        self._least = least

    def from_checkpoint(self, checkpoint: Any) -> Self:
        """Return another with a stored value."""
        new = super().from_checkpoint(checkpoint)
        new.value = _decoded(new.value)
        return new

    def replay_writes(self, writes: Sequence[PendingWrite]) -> None:
        """Apply stored writes, oldest first."""
        super().replay_writes(writes)
        self.value = _decoded(self.value)

    def update(self, values: Sequence[Any]) -> bool:
        """Apply a step's writes; return whether there were any."""
        is_changed = super().update(values)
        self.value = _decoded(self.value) if is_changed else self.value
        return is_changed

    def copy(self) -> Self:
        """Return another with the same value."""
        new = type(self)(self.reducer, self.typ, snapshot_frequency=self._least)
        new.key, new.value = self.key, self.value  # which is never changed: `append` returns another
        return new


def _decoded(conversation: Sequence[Any]) -> list[AnyMessage]:
    """Return the conversation with messages in place of dicts.

    What is no list is damage, and left as it is.
    """
    if isinstance(conversation, list) and dict in set(map(type, conversation)):
        return append([], [conversation])
    return cast("list[AnyMessage]", conversation)


def _messages(writes: Sequence[Any]) -> Iterable[Any]:
    for write in writes:
        one_by_one = write if isinstance(write, list | tuple) else [write]
        for item in one_by_one:
            message = item if isinstance(item, BaseMessage) else convert_to_messages([item])[0]
            whole = isinstance(message, AIMessageChunk)
            yield message_chunk_to_message(message) if whole else message


def _new_id(message: BaseMessage, taken: Container[str]) -> str:
    place = len(cast("dict[str, Any]", taken))
    while True:
        seed = f"{place}\0{message.type}\0{message.content!r}"
        made = hashlib.sha256(seed.encode()).hexdigest()[:32]
        if made not in taken:
            return made
        place += 1


Messages = Annotated[list[AnyMessage], ConversationChannel(append, snapshot_frequency=SNAPSHOT_AFTER)]


class JudgedCall(TypedDict):
    """A call of the current round, as policy judged it."""

    id: str
    name: str
    args: dict[str, Any]
    problem: str | None
    """What was wrong with the arguments on the wire; None where they are whole."""
    verdict: Verdict
    reason: str
    """Why it asks or is refused, in words; empty where it runs."""


class CallDecision(TypedDict):
    """What a person decided about a call."""

    approved: bool
    args: dict[str, Any]
    """The arguments that run: the edited ones where they were edited."""
    message: str
    on_record: NotRequired[bool]
    """The ledger had the approval on record, so that one which has not is older than that."""


class StoredTaint(TypedDict):
    """The untrusted content that a round's calls were made after."""

    sources: list[str]
    """Names of the tools that it came by."""
    trusted_links: list[str]


class FailedModel(TypedDict):
    """A model that could not answer, and which did instead."""

    model: str
    """Its name in the registry, as of `instead`."""
    role: str
    """orchestrator, chat or explanation."""
    cause: str
    """As in `base.errors.Cause`."""
    why: str
    """What a person reads of it, with what to do."""
    instead: str | None
    """None: no model answered."""


class Task(TypedDict):
    """One call to execute, as a route sends it."""

    call: JudgedCall
    args: dict[str, Any]
    """What runs: the edited arguments where a person edited them."""
    in_conversation: NotRequired[bool]
    """False: no model made it in this conversation, so that nothing may come of it."""
    on_record: NotRequired[bool]
    """As in `CallDecision`."""
    thread: str
    turn: str
    started_at: NotRequired[float]
    waited_s: NotRequired[float]
    choices: dict[str, Any]
    planner: str
    taint: StoredTaint
    next: Literal["plan", "explain"]


class Input(TypedDict):
    """What a client sends: the new message, in any form LangChain reads."""

    messages: Messages


@dataclass(frozen=True, kw_only=True)
class TurnOutput:
    """What a turn gives back: the fields of `graphs.result.Result`, and the conversation."""

    messages: Messages = field(default_factory=list)
    response: str = ""
    tool_calls: list[dict[str, Any]] = field(default_factory=list)
    backend: str | None = None
    summary: str = ""
    receipts: list[dict[str, Any]] = field(default_factory=list)
    pending: dict[str, Any] | None = None
    usage: dict[str, Any] = field(default_factory=dict)
    failed_models: list[FailedModel] = field(default_factory=list)
    stop_reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class State(TurnOutput):
    """Everything a step reads. Times are Unix seconds."""

    own_last_id: str = ""
    """Id of the last message that a step of ours wrote or admitted: what follows came from a client."""
    thread: str = ""
    """Name under which the ledger keeps this conversation."""
    turn: str = ""
    """Id of the message that the turn answers."""
    choices: dict[str, Any] = field(default_factory=dict)
    """What was chosen in the context when the turn began, for a resume that does not repeat it."""
    path: PathName = "two-brain"
    respond: bool = True
    started_at: float = 0.0
    waited_s: float = 0.0
    """Seconds of this turn that a person took to decide."""
    rounds: int = 0
    """Planner calls of this turn."""
    calls: list[JudgedCall] = field(default_factory=list)
    """Calls of the current round; empty once the planner is done."""
    planner: str = ""
    """Registry name of the model that planned the current round."""
    taint: StoredTaint = field(default_factory=lambda: StoredTaint(sources=[], trusted_links=[]))
    """Of the current round."""
    request: dict[str, Any] = field(default_factory=dict)
    """The confirmation request of the current round."""
    asked_at: float = 0.0
    problem: str = ""
    """Why the last answer to the confirmation was not understood."""
    decisions: dict[str, CallDecision] = field(default_factory=dict)


Output = TypedDict("Output", get_type_hints(TurnOutput, include_extras=True), total=False)  # type: ignore[misc]
"""`TurnOutput` as the graph gives it: a dict of what is there."""


class Update(TypedDict, total=False):
    """The changes a step returns: some of `State`'s fields."""

    messages: Sequence[AnyMessage | RemoveMessage]
    response: str
    tool_calls: list[dict[str, Any]]
    backend: str | None
    summary: str
    receipts: list[dict[str, Any]]
    pending: dict[str, Any] | None
    usage: dict[str, Any]
    failed_models: list[FailedModel]
    stop_reason: str | None
    own_last_id: str
    thread: str
    turn: str
    choices: dict[str, Any]
    path: PathName
    respond: bool
    started_at: float
    waited_s: float
    rounds: int
    calls: list[JudgedCall]
    planner: str
    taint: StoredTaint
    request: dict[str, Any]
    asked_at: float
    problem: str
    decisions: dict[str, CallDecision]


def appended(messages: Sequence[AnyMessage]) -> Update:
    """Return the change that adds messages of a step's own, if any."""
    return {"messages": messages, "own_last_id": messages[-1].id or ""} if messages else {}


def new_turn() -> Update:
    """Return every field but the conversation as a turn begins."""
    return cast(
        "Update",
        {
            each.name: each.default_factory() if callable(each.default_factory) else each.default
            for each in fields(State)
            if each.name != "messages"
        },
    )
