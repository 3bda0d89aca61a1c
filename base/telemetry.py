"""Spans and metrics of OpenTelemetry, by its GenAI conventions.

They go to the providers that the process has configured; nothing here configures one. What was said is not in
them, unless `CONTENT` asks for it. The conventions are those of the repository semantic-conventions-genai, as
it was in November 2026.
"""

import os
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

from base.redaction import Redact, redacted_json
from base.run_context import RunContext, current_run, run_context

if TYPE_CHECKING:
    from opentelemetry.metrics import Histogram
    from opentelemetry.trace import Span, Tracer

T = TypeVar("T")
Kind = Literal["invoke_agent", "chat", "execute_tool"]

AGENT = "twobrain"
CONTENT = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
"""The standard variable that lets what was said into spans."""
_WITH_CONTENT = {"true", "1", "span_only", "span_and_event"}
_DURATIONS: Mapping[Kind, str] = {
    "invoke_agent": "gen_ai.invoke_agent.duration",
    "chat": "gen_ai.client.operation.duration",
    "execute_tool": "gen_ai.execute_tool.duration",
}
_SECONDS = tuple(0.01 * 2**n for n in range(14))
_TOKENS = tuple(4.0**n for n in range(14))
"""The conventions' buckets."""
_TOKEN_TYPES = {"gen_ai.usage.input_tokens": "input", "gen_ai.usage.output_tokens": "output"}
_MEASURED = {
    *(f"gen_ai.{name}" for name in ("operation.name", "provider.name", "agent.name", "tool.name")),
    *("gen_ai.request.model", "gen_ai.response.model", "error.type"),
}
"""What metrics have of a span's attributes: such as has few values."""


class Operation:
    """One operation under way; where nothing listens, it costs nothing."""

    def __init__(self, kind: Kind, of: str, attributes: Mapping[str, Any]) -> None:
        """Name its agent, model or tool, and what is known of it."""
        self._name = f"{kind} {of}"
        self._kind = kind
        self._attributes: dict[str, Any] = {"gen_ai.operation.name": kind}
        self.note(attributes)
        self._span: Span | None = None
        self._begun = 0.0
        self._attached: Any = nullcontext()

    def note(self, attributes: Mapping[str, Any]) -> None:
        """Note more of it; None is left out."""
        self._attributes |= {name: value for name, value in attributes.items() if value is not None}

    def fail(self, kind: str) -> None:
        """Note what kind of error ends it; never its words."""
        self._attributes["error.type"] = kind

    def begin(self) -> None:
        """Begin its span, within what is under way here."""
        self._begun = time.monotonic()
        if not _is_traced():
            return
        from opentelemetry.trace import SpanKind

        self.note({"gen_ai.conversation.id": current_run().thread_id or None})
        kind = SpanKind.CLIENT if self._kind == "chat" else SpanKind.INTERNAL
        self._span = _tracer().start_span(self._name, kind=kind, attributes=self._attributes)

    def end(self) -> None:
        """End its span, and count it."""
        if self._span and self._span.is_recording():
            from opentelemetry.trace import StatusCode

            self._span.set_attributes(self._attributes)
            if "error.type" in self._attributes:
                self._span.set_status(StatusCode.ERROR)
        if self._span:
            self._span.end()
        if "opentelemetry.metrics" in sys.modules:
            self._measure()

    def current(self) -> AbstractContextManager[Any]:
        """Let what begins meanwhile be a part of it."""
        if self._span is None:
            return nullcontext()
        from opentelemetry.trace import use_span

        return use_span(self._span, record_exception=False, set_status_on_exception=False)

    def __enter__(self) -> Self:
        self.begin()
        self._attached = self.current()
        self._attached.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._attached.__exit__(None, None, None)
        self.end_by(error)

    def end_by(self, error: BaseException | None) -> None:
        """End it as an exception says; an interrupt is no error."""
        kinds = {kind.__name__ for kind in type(error).__mro__}
        if error and not kinds & {"GraphBubbleUp", "GeneratorExit"}:
            self._attributes.setdefault("error.type", type(error).__name__)
        self.end()

    def _measure(self) -> None:
        measured = {name: value for name, value in self._attributes.items() if name in _MEASURED}
        _histogram(_DURATIONS[self._kind], "s").record(time.monotonic() - self._begun, measured)
        for name, kind in _TOKEN_TYPES.items():
            if (tokens := self._attributes.get(name)) is not None:
                counted = {**measured, "gen_ai.token.type": kind}
                _histogram("gen_ai.client.token.usage", "{token}").record(tokens, counted)


async def steps(stream: AsyncIterator[T], operation: Operation, run: RunContext) -> AsyncGenerator[T, None]:
    """Yield what a stream gives, as the steps of an operation.

    They work for the run. Between them whoever reads it works for nobody: a generator shares its reader's
    context.
    """
    with run_context(run):
        operation.begin()
    error: BaseException | None = None
    try:
        while True:
            with run_context(run), operation.current():
                try:
                    each = await anext(stream)
                except StopAsyncIteration:
                    return
            yield each
    except BaseException as raised:
        error = raised
        raise
    finally:
        operation.end_by(error)


def set_gauge(name: str, unit: str, value: float, attributes: Mapping[str, str] | None = None) -> None:
    """Tell how something stands now."""
    _gauge(f"{AGENT}.{name}", unit).set(value, attributes)


def shows_content() -> bool:
    """Tell whether spans are to hold what was said."""
    return os.environ.get(CONTENT, "").strip().lower() in _WITH_CONTENT


def messages_shown(messages: Iterable[Any], redact: Redact) -> str:
    """Return LangChain's messages in the conventions' JSON, redacted."""
    shown = []
    for message in messages:
        parts: list[dict[str, Any]] = [{"type": "text", "content": message.text}] if message.text else []
        parts += [
            {"type": "tool_call", "id": call["id"], "name": call["name"], "arguments": call["args"]}
            for call in getattr(message, "tool_calls", ())
        ]
        role = {"human": "user", "ai": "assistant"}.get(message.type, message.type)
        if role == "tool":
            parts = [{"type": "tool_call_response", "id": message.tool_call_id, "response": message.text}]
        shown.append(redacted_json({"role": role, "parts": parts}, redact))
    return f"[{', '.join(shown)}]"


def _is_traced() -> bool:
    """Tell whether the process has configured a provider of spans."""
    trace = sys.modules.get("opentelemetry.trace")
    return trace is not None and not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


@cache
def _tracer() -> "Tracer":
    from opentelemetry import trace

    return trace.get_tracer(AGENT)


@cache
def _gauge(name: str, unit: str) -> Any:  # its type is private there
    from opentelemetry import metrics

    return metrics.get_meter(AGENT).create_gauge(name, unit)


@cache
def _histogram(name: str, unit: str) -> "Histogram":
    from opentelemetry import metrics

    buckets = _SECONDS if unit == "s" else _TOKENS
    meter = metrics.get_meter(AGENT)
    return meter.create_histogram(name, unit, explicit_bucket_boundaries_advisory=buckets)
