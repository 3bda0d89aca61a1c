"""What a step tells whoever watches its turn: one class an event."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of the answer's text."""

    text: str


@dataclass(frozen=True, slots=True)
class Restarted:
    """The tokens since the model's call began are void; others follow."""

    model: str
    role: str


@dataclass(frozen=True, slots=True)
class ToolStarted:
    """A call begins to run."""

    call_id: str
    tool: str
    args: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ToolFinished:
    """A call has its result."""

    call_id: str
    tool: str
    status: str
    """See `ledger.records.Status`."""
    result: str
    """Of a long one the two ends, as in `Result.tool_calls`."""
    duration_ms: float | None = None


@dataclass(frozen=True, slots=True)
class UsageReported:
    """One model call ended; None is unknown, not zero."""

    model: str
    role: str
    input_tokens: int | None
    output_tokens: int | None
    cost_usd: float | None


StepEvent = Token | Restarted | ToolStarted | ToolFinished | UsageReported
_NAMES: dict[type[StepEvent], str] = {
    Token: "token",
    Restarted: "restarted",
    ToolStarted: "tool_started",
    ToolFinished: "tool_finished",
    UsageReported: "usage",
}
_KINDS = {name: kind for kind, name in _NAMES.items()}


def emit(writer: Callable[[Any], None], event: StepEvent) -> None:
    """Write an event to the custom stream, as `{"event": its name, …}`."""
    writer({"event": _NAMES[type(event)], **{name: getattr(event, name) for name in event.__slots__}})


def read_event(payload: Any) -> StepEvent | None:
    """Return what `emit` wrote; None for what others wrote."""
    kind = _KINDS.get(str(payload.get("event"))) if isinstance(payload, dict) else None
    return kind(**{key: value for key, value in payload.items() if key != "event"}) if kind else None
