"""Translate what the graph streams into typed events."""

from typing import Any

from langchain_core.messages import AIMessage

from graphs.events import Event
from nodes.events import Restarted, Token, UsageReported, read_event

_SPEAKERS = {"plan", "respond"}
_MODEL_SPOKE = "ls_model_type"
"""Key in the metadata of what a model call streams, and not of what a step returns."""


class Watch:
    """Follows one run; knows what the person has heard of the models' words."""

    def __init__(self) -> None:
        self._spoken: str | None = None
        """Id of the message that the last token belonged to."""
        self._kept: str | None = None
        """The same, as it was when the last model call ended."""

    def event(self, mode: str, payload: Any) -> Event | None:
        """Return what an item of the custom or the messages stream tells a person; None for most."""
        return self._reported(payload) if mode == "custom" else self._said(*payload)

    def _reported(self, payload: Any) -> Event | None:
        event = read_event(payload)
        if isinstance(event, UsageReported):
            self._kept = self._spoken
        if isinstance(event, Restarted):
            if self._spoken == self._kept:
                return None  # nobody heard any of it
            self._spoken = self._kept
        return event

    def _said(self, message: Any, metadata: dict[str, Any]) -> Token | None:
        if not isinstance(message, AIMessage) or metadata.get("langgraph_node") not in _SPEAKERS:
            return None
        if not message.text or (message.tool_calls and _MODEL_SPOKE not in metadata):
            return None  # what a planner said unheard, beside its calls, comes once more from its step
        gap = "\n\n" if self._spoken is not None and message.id != self._spoken else ""
        self._spoken = message.id
        return Token(gap + message.text)
