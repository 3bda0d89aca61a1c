"""Files that come with a message, as blocks of its content."""

import base64
import mimetypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from base.errors import BadMessageError
from base.texts import visible
from tools.files.encodings import read

_MAGIC = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF8": "image/gif",
    b"%PDF-": "application/pdf",
}
"""How files begin that are what they are whatever their name says."""
_JUDGED_BYTES = 64
_TAKEN = "text, PNG, JPEG, GIF or WebP pictures, PDF, sound and film"


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file that is sent with a message."""

    name: str
    data: bytes
    type: str = ""
    """Its media type as its sender gives it; empty: by name and content."""


def content_of(text: str, attachments: Sequence[Attachment]) -> str | list[str | dict[Any, Any]]:
    """Return the content of a message with attachments.

    Raises:
        BadMessageError: one is empty, or nothing that a model reads.
    """
    if not attachments:
        return text
    spoken: list[str | dict[Any, Any]] = [{"type": "text", "text": text}] if text else []
    return [*spoken, *map(_block, attachments)]


def _block(attachment: Attachment) -> dict[str, Any]:
    name, media = visible(attachment.name) or "a file", _type_of(attachment)
    if not attachment.data:
        raise BadMessageError(f"The attachment {name!r} is empty. Send another, or none.")
    about = {"metadata": {"name": name}}
    kind = media.partition("/")[0]
    if media:
        held = base64.b64encode(attachment.data).decode()
        block = {"type": "file" if kind == "application" else kind, "base64": held, "mime_type": media}
        return {**block, **about}
    if (found := read(attachment.data)) is None:
        raise BadMessageError(
            f"The attachment {name!r} cannot be read: a message can bring {_TAKEN}. Save it as one of these."
        )
    return {"type": "text-plain", "text": found.text, "mime_type": "text/plain", **about}


def _type_of(attachment: Attachment) -> str:
    """Return the media type of a file; empty: it may be text.

    Pictures and PDF are known by how they begin, sound and film by what they are called.
    """
    head = attachment.data[:_JUDGED_BYTES]
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "image/webp"
    if known := next((media for magic, media in _MAGIC.items() if head.startswith(magic)), None):
        return known
    said = attachment.type.partition(";")[0].strip().lower()
    named = (said, mimetypes.guess_type(attachment.name)[0] or "")
    found = next((media for media in named if media.startswith(("audio/", "video/"))), "")
    return "" if head.isascii() and b"\0" not in head else found  # TypeScript is called as a film is
