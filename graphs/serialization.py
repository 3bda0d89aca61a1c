"""How checkpoints are read: nothing in a row runs code, and what cannot be read is never taken for less."""

import threading
from functools import cache

from langgraph.checkpoint.serde.event_hooks import SerdeEvent, register_serde_event_listener
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

_WRITTEN = {"null", "bytes", "bytearray", "msgpack"}
"""The kinds of row that are ever written; LangGraph reads older ones too, which can name constructors."""
_reading = threading.local()


class UnreadableError(ValueError):
    """A stored value holds what no conversation consists of, or is no value at all."""


class StrictSerializer(JsonPlusSerializer):
    """Reads messages, LangGraph's own types and plain data.

    Of any other type LangGraph's strict mode returns the raw arguments, as if they were the value.
    """

    def __init__(self) -> None:
        super().__init__(allowed_msgpack_modules=None)
        _listen()

    def loads_typed(self, data: tuple[str, bytes]) -> object:
        """Return the value of a row.

        Raises:
            UnreadableError: it cannot be read whole.
        """
        if data[0] not in _WRITTEN:
            raise UnreadableError(f"a row of kind {data[0]!r}, which is never written")
        refused: list[str] = []
        _reading.refused = refused
        try:
            value = super().loads_typed(data)
        except Exception as error:  # whatever a decoder says of bytes that are no value
            raise UnreadableError(f"a row that cannot be decoded: {error}") from error
        if refused:
            raise UnreadableError(f"a value of type {refused[0]}, which no conversation holds")
        return value


@cache
def _listen() -> None:
    register_serde_event_listener(_note)


def _note(event: SerdeEvent) -> None:
    refused = getattr(_reading, "refused", None)
    if refused is not None and event["kind"].endswith("_blocked"):
        refused.append(f"{event['module']}.{event['name']}")
