"""What a running turn tells whoever watches it, as typed events."""

from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass, field
from typing import Any

from nodes.events import StepEvent


@dataclass(frozen=True, slots=True)
class Result:
    """How a turn stands: answered, or waiting for a person."""

    thread_id: str
    response: str = ""
    """What the person reads; empty while a confirmation waits. Where a limit ended the turn, its last
    paragraph is ours: which limit, what was done, what it took."""
    tool_calls: list[dict[str, Any]] = field(default_factory=list)
    """One `{tool, args, result, status, call_id}` for each call of the turn, in order. Of a result of more
    than 2,000 characters the two ends, with the handle of the stored whole: this key is streamed."""
    backend: str | None = None
    """Registry name of the model that wrote the response; None where none did."""
    summary: str = ""
    """The planner's words for the responder; empty on the single and direct paths."""
    receipts: list[dict[str, Any]] = field(default_factory=list)
    """Machine-made: one `{tool, call_id, status, text}` for each call, whatever a model says of it. First
    come those of an earlier turn that no answer told of: superseded by this turn's message, for the most."""
    pending: dict[str, Any] | None = None
    """The confirmation request that waits; None when the turn is done."""
    usage: dict[str, Any] = field(default_factory=dict)
    """`model_calls`, `input_tokens`, `output_tokens`, `cached_tokens`, `reasoning_tokens`, `cost_usd`: None
    is unknown. Limits count `counted_tokens`, estimated where none are reported, and `known_cost_usd`."""
    stop_reason: str | None = None
    """answered, model_failed, or what ended it early: rounds, tool_calls, tokens, cost, deadline, repeats
    (the planner went on repeating calls although it was told), or tokens_per_day or cost_per_day (the user's
    allowance; with no model call in `usage` where it was used up before). None while it waits."""

    def to_json(self) -> dict[str, Any]:
        """Return the same keys as plain data."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Queued:
    """Another turn of the thread is under way, maybe in another process: this one begins when that ends."""


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


def ending(result: Result) -> list[Event]:
    """Return a turn's last events.

    They are told once its lock is let go: whoever stops listening, or answers at once, waits for nobody.
    """
    return [*([Confirmation(result.pending)] if result.pending else []), Done(result)]


async def last(events: AsyncIterator[Event]) -> Result:
    """Return the result that a turn's events end in."""
    async for event in events:
        if isinstance(event, Done):
            return event.result
    raise AssertionError
