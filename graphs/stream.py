"""The events of a running turn, translated from what the graph streams."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import AIMessage

from graphs.result import Result
from nodes.events import Restarted, StepEvent, Token, UsageReported, emit, read_event
from nodes.gate.request import identity_of, own_description

_SPEAKERS = {"plan", "respond"}
_MODEL_SPOKE = "ls_model_type"
"""Key in the metadata of what a model call streams, and not of what a step returns."""


@dataclass(frozen=True, slots=True)
class Queued:
    """The turn waits until another turn of its thread ends.

    That one may be another process's.
    """


@dataclass(frozen=True, slots=True)
class Begun:
    """The turn that was queued begins."""


@dataclass(frozen=True, slots=True)
class Confirmation:
    """The turn waits: the request that a person must answer."""

    request: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Done:
    """The turn's result, always the last event."""

    result: Result


Event = Queued | Begun | StepEvent | Confirmation | Done


def told(event: Event) -> dict[str, Any]:
    """Return an event as pages and scripts are told it."""
    match event:
        case Queued():
            return {"event": "queued"}
        case Begun():
            return {"event": "begun"}
        case Confirmation(request):
            return {"event": "confirmation", "request": shown(request), "question": identity_of(request)}
        case Done(result):
            return {"event": "done", "result": {**result.to_json(), "pending": shown(result.pending)}}
        case _:
            written: list[dict[str, Any]] = []
            emit(written.append, event)
            return written[0]


def shown(request: dict[str, Any] | None) -> Any:
    """Return a request without what is said for other programs."""
    if request is None:
        return None
    actions = [{**each, "description": own_description(each)} for each in request["action_requests"]]
    return {**request, "action_requests": actions}


async def final_result(
    events: AsyncIterator[Event], show: Callable[[Event], None] = lambda _: None
) -> Result:
    """Show each event of a turn and return its result."""
    async for event in events:
        show(event)
        if isinstance(event, Done):
            return event.result
    raise AssertionError


class Translator:
    """Translates one run's stream; knows which tokens the person has heard."""

    def __init__(self) -> None:
        self._message: str | None = None
        """Id of the message that the last token belonged to."""
        self._finished: str | None = None
        """The same, as it was when the last model call ended."""

    def event(self, mode: str, payload: Any) -> Event | None:
        """Return the event of a streamed item; None for most."""
        if mode == "messages":
            return self._said(*payload)
        event = read_event(payload)
        if isinstance(event, UsageReported):
            self._finished = self._message
        if isinstance(event, Restarted):
            if self._message == self._finished:
                return None  # nobody heard any of it
            self._message = self._finished
        return event

    def _said(self, message: Any, metadata: dict[str, Any]) -> Token | None:
        if not isinstance(message, AIMessage) or metadata.get("langgraph_node") not in _SPEAKERS:
            return None
        if not message.text or (message.tool_calls and _MODEL_SPOKE not in metadata):
            return None  # what a planner said unheard, beside its calls, comes once more from its step
        if message.id != self._message and not message.text.strip():
            return None  # blank lines before an answer, or instead of words beside a call
        gap = "\n\n" if self._message is not None and message.id != self._message else ""
        self._message = message.id
        return Token(gap + message.text)
