"""Reads and writes rows safely. Uses private names of langgraph-checkpoint.

Nothing in a row runs code, and what cannot be read is never taken for less.
"""

import threading
import zlib
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import ormsgpack
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langgraph.checkpoint.serde.event_hooks import SerdeEvent, register_serde_event_listener
from langgraph.checkpoint.serde.jsonplus import EXT_PYDANTIC_V2, JsonPlusSerializer
from pydantic import ValidationError

_PLAIN = "msgpack"
_COMPRESSED = "zlib"
"""A plain row, compressed; of a conversation, most rows repeat much of what they say."""
_WRITTEN = {"null", "bytes", "bytearray", _PLAIN, _COMPRESSED}
"""The kinds of row that are ever written; LangGraph reads older ones too, which can name constructors."""
_LEAST_COMPRESSED, _MOST_COMPRESSED = 64, 1_000_000
"""Bytes of what is compressed: less would gain nothing, and more would hold up whoever waits. What unpacks to
more was never written."""
_COMPRESSION = 3
_MESSAGES: Mapping[tuple[str, str], type[BaseMessage]] = {
    (kind.__module__, kind.__name__): kind for kind in (AIMessage, HumanMessage, SystemMessage, ToolMessage)
}
_reading = threading.local()


class UnreadableError(ValueError):
    """A stored value is none that a conversation can hold."""


class StrictSerializer(JsonPlusSerializer):
    """Reads messages, LangGraph's own types and plain data.

    Of any other type LangGraph's strict mode returns the raw arguments, as if they were the value.
    """

    def __init__(self) -> None:
        super().__init__(allowed_msgpack_modules=None)
        self._any = self._unpack_ext_hook
        self._unpack_ext_hook = self._message_or_any

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
            value = super().loads_typed((_PLAIN, _inflated(data[1])) if data[0] == _COMPRESSED else data)
        except Exception as error:  # whatever a decoder says of bytes that are no value
            raise UnreadableError(f"a row that cannot be decoded: {error}") from error
        if refused:
            raise UnreadableError(f"a value of type {refused[0]}, which no conversation holds")
        return value

    def _message_or_any(self, code: int, data: bytes) -> Any:
        """Return an object as LangGraph does; a message in half the time.

        They do no more for what a message itself was written as than have it validated. Without this a resume
        after 200 rounds takes 4 ms more, of about 10, and a longer conversation's more.
        """
        if code == EXT_PYDANTIC_V2:
            module, name, fields, *_ = ormsgpack.unpackb(
                data, ext_hook=self._message_or_any, option=ormsgpack.OPT_NON_STR_KEYS
            )
            if (kind := _MESSAGES.get((module, name))) and "content_blocks" not in fields:
                with suppress(ValidationError):
                    return kind.__pydantic_validator__.validate_python(
                        fields, self_instance=kind.__new__(kind)
                    )
        return self._any(code, data)


def compressed(kind: str, data: bytes) -> tuple[str, bytes]:
    """Return a row's kind and bytes, compressed where that is smaller."""
    if kind == _PLAIN and _LEAST_COMPRESSED <= len(data) <= _MOST_COMPRESSED:
        smaller = zlib.compress(data, _COMPRESSION)
        if len(smaller) < len(data):
            return _COMPRESSED, smaller
    return kind, data


def _inflated(data: bytes) -> bytes:
    unpacker = zlib.decompressobj()
    whole = unpacker.decompress(data, _MOST_COMPRESSED + 1)
    if not unpacker.eof or unpacker.unused_data:
        raise UnreadableError("it is cut short, or unpacks to more than is ever written")
    return whole


def _note(event: SerdeEvent) -> None:
    refused = getattr(_reading, "refused", None)
    if refused is not None and event["kind"].endswith("_blocked"):
        refused.append(f"{event['module']}.{event['name']}")


register_serde_event_listener(_note)
