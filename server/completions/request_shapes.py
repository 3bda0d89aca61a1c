"""The fields of a chat completion's request, and the files in it."""

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from base.errors import BadMessageError
from graphs.attachments import Attachment

MODEL_NAME = "twobrain"
"""By which chat programs ask for the assistant."""
_DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+)?(?:;[^;,]*)*;base64,", re.IGNORECASE)


class Said(BaseModel):
    """A message of a chat completion."""

    model_config = ConfigDict(extra="ignore")

    role: str
    content: str | list[dict[str, Any]] | None = None

    @property
    def text(self) -> str:
        """Its words."""
        if isinstance(self.content, list):
            texts = (part.get("text") for part in self.content if part.get("type") == "text")
            return "\n".join(text for text in texts if isinstance(text, str))
        return self.content or ""


class StreamOptions(BaseModel):
    """What is asked of a stream."""

    model_config = ConfigDict(extra="ignore")

    include_usage: bool = False


class Completion(BaseModel):
    """A request for a chat completion, as far as it counts here."""

    model_config = ConfigDict(extra="ignore")

    model: str = Field(default=MODEL_NAME, min_length=1, max_length=300)
    messages: list[Said] = Field(min_length=1)
    stream: bool = False
    stream_options: StreamOptions | None = None
    n: int | None = None
    tool_choice: Any = None
    response_format: dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None

    @property
    def said(self) -> list[Said]:
        """What person and assistant said."""
        return [message for message in self.messages if message.role in {"user", "assistant"}]

    @property
    def persona(self) -> str:
        """What the client's system messages say."""
        rules = [m.text for m in self.messages if m.role in {"system", "developer"} and m.text.strip()]
        return "\n\n".join(rules)


def attachments_of(message: Said) -> list[Attachment]:
    """Return the files of a message.

    Raises:
        BadMessageError: one is only pointed at, or is no base64.
    """
    parts = message.content if isinstance(message.content, list) else []
    return [file for part in parts if (file := _attachment(part)) is not None]


def _attachment(part: Mapping[str, Any]) -> Attachment | None:
    kind = part.get("type")
    if kind == "image_url":
        link = part.get("image_url")
        return _held(link.get("url") if isinstance(link, Mapping) else link, "picture")
    if kind == "input_audio":
        audio = _object(part.get("input_audio"))
        return _held(audio.get("data"), "sound", f"audio/{audio.get('format', 'wav')}")
    if kind == "file":
        file = _object(part.get("file"))
        return _held(file.get("file_data"), str(file.get("filename") or "file"))
    if kind in {"text", "refusal"}:
        return None
    raise BadMessageError(
        f"Content of type {str(kind)[:40]!r} is not understood. Send text, images, audio or files."
    )


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _held(data: Any, name: str, media: str = "") -> Attachment:
    if not isinstance(data, str) or re.match(r"(https?|file):", data):
        raise BadMessageError(
            "A file must come with the message, as data; nothing is fetched from elsewhere."
        )
    if found := _DATA_URL.match(data):
        media, data = found[1] or media, data[found.end() :]
    try:
        return Attachment(name, base64.b64decode(data, validate=True), media)
    except binascii.Error:
        raise BadMessageError(f"The {name} is no base64. Send it again.") from None
