"""Translate what the graph streams into typed events."""

from typing import Any

from langchain_core.messages import AIMessage

from graphs.events import Event, Token, ToolFinished, ToolStarted, UsageReported

_KINDS: dict[str, type[ToolStarted | ToolFinished | UsageReported]] = {
    "tool_started": ToolStarted,
    "tool_finished": ToolFinished,
    "usage": UsageReported,
}
_SPEAKERS = {"plan", "respond"}
_MODEL_SPOKE = "ls_model_type"
"""Key in the metadata of what a model call streams, and not of what a step returns."""


def event_of(payload: Any) -> Event | None:
    """Return the event that a step wrote to the custom stream; None for what others write there."""
    if not isinstance(payload, dict) or payload.get("event") not in _KINDS:
        return None
    fields = {key: value for key, value in payload.items() if key != "event"}
    return _KINDS[payload["event"]](**fields)


def token_of(payload: Any, spoken: str | None) -> Token | None:
    """Return the piece of text that a model said to the person, None for everything else.

    Args:
        payload: a message or chunk with its metadata, from the messages stream.
        spoken: id of the message that the last token belonged to; a new one begins a new paragraph.
    """
    message, metadata = payload
    if not isinstance(message, AIMessage) or metadata.get("langgraph_node") not in _SPEAKERS:
        return None
    if not message.text or (message.tool_calls and _MODEL_SPOKE not in metadata):
        return None  # what a planner said beside its calls, unheard, comes once more as its step stores it
    gap = "\n\n" if spoken is not None and message.id != spoken else ""
    return Token(gap + message.text)
