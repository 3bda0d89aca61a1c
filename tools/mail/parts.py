"""A mail's parts, known before any is fetched."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from email.message import Message
from email.parser import BytesParser
from email.policy import compat32
from email.utils import collapse_rfc2231_value, decode_params
from typing import Any

from base.texts import one_line, visible
from tools.mail.headers import decoded_words
from tools.web.pages import Document, decode

_MAIL = "message/rfc822"
_DISPOSITION = {"text": 9, _MAIL: 11}
"""Where a part tells what it is for (RFC 3501, 7.4.2); others at the 8th place."""


@dataclass(frozen=True, slots=True)
class MailPart:
    """One part of a mail that holds no others."""

    number: str
    """Its section, such as `1.2`."""
    kind: str
    """The media type, in small letters."""
    charset: str
    """As declared; empty: it is not."""
    encoding: str
    """How its bytes are written, such as base64."""
    size: int
    """Bytes as they were sent."""
    name: str = ""
    """Of the file; empty: it has none."""
    is_attached: bool = False
    """The sender meant it as a file."""

    @property
    def is_text(self) -> bool:
        """Its beginning can be read without its end."""
        return self.kind.startswith("text/") or self.kind == _MAIL

    def content(self, raw: bytes) -> bytes:
        """Return what its bytes stand for, as far as they were fetched."""
        message = Message()
        message["Content-Transfer-Encoding"] = self.encoding
        message.set_payload(raw.decode("ascii", "surrogateescape"))
        content = message.get_payload(decode=True)
        return content if isinstance(content, bytes) else raw

    def document(self, raw: bytes, name: str) -> Document:
        """Return what was fetched of it, as what reads documents takes it."""
        content, is_whole = self.content(raw), len(raw) >= self.size
        if self.kind == _MAIL:
            return _forwarded(content, name, is_whole=is_whole)
        kind = "" if self.kind == "application/octet-stream" else self.kind  # judged by what it holds
        return Document(name, _content_type(kind, self.charset, content), content, is_whole)


def parts_of(structure: Any, number: str = "") -> Iterator[MailPart]:
    """Yield the parts of a BODYSTRUCTURE that IMAPClient read."""
    if structure.is_multipart:
        for place, child in enumerate(structure[0], 1):
            yield from parts_of(child, f"{number}{place}.")
    else:
        yield _part(structure, number.rstrip(".") or "1")


def body_of(parts: Sequence[MailPart]) -> MailPart | None:
    """Return the part that is the mail's text; None: it has none."""
    inline = [part for part in parts if not part.is_attached]
    of_kind = (part for kind in ("text/plain", "text/html") for part in inline if part.kind == kind)
    return next(of_kind, None)


def _content_type(kind: str, charset: str, content: bytes) -> str:
    """Return a media type, with the charset where that can be right."""
    declared = f"{kind}; charset={charset}"
    return declared if charset and "\ufffd" not in decode(content, declared) else kind


def _forwarded(content: bytes, name: str, *, is_whole: bool) -> Document:
    """Return the text of a mail that is attached to another."""
    mail = BytesParser(policy=compat32).parsebytes(content)
    texts = [
        each for each in mail.walk() if each.get_content_maintype() == "text" and not each.get_filename()
    ]
    text = min(texts, key=lambda each: each.get_content_type() != "text/plain", default=None)
    if text is None:
        return Document(name, "text/plain", b"(It has no text.)")
    payload = text.get_payload(decode=True)
    content = payload if isinstance(payload, bytes) else b""
    charset = str(text.get_param("charset") or "")
    return Document(name, _content_type(text.get_content_type(), charset, content), content, is_whole)


def _part(structure: Any, number: str) -> MailPart:
    kind = visible(f"{_text(structure[0])}/{_text(structure[1])}".lower())
    params = _params(structure[2])
    place = _DISPOSITION.get(kind, _DISPOSITION.get(kind.partition("/")[0], 8))
    disposition = structure[place] if len(structure) > place else None
    if not isinstance(disposition, tuple):
        disposition = (b"", None)
    name = _params(disposition[1]).get("filename") or params.get("name", "")
    attached = _text(disposition[0]).lower() == "attachment" or bool(name)
    charset = re.sub(r"[^\w.:-]", "", params.get("charset", ""))
    size = structure[6] if isinstance(structure[6], int) else 0
    return MailPart(number, kind, charset, _text(structure[5]), size, visible(one_line(name, 200)), attached)


def _params(pairs: Any) -> dict[str, str]:
    """Return parameters by name, those in pieces put together (RFC 2231).

    As they stand where that cannot be done: of a charset that is none, or of a name twice.
    """
    if not isinstance(pairs, tuple):
        return {}
    given = [
        (_text(name).lower(), _text(value)) for name, value in zip(pairs[::2], pairs[1::2], strict=False)
    ]
    try:
        _, *found = decode_params([("", ""), *given])
        whole = [(name, collapse_rfc2231_value(value)) for name, value in found]
    except (TypeError, ValueError):
        whole = given
    return {name: decoded_words(value.strip('"')) for name, value in whole}


def _text(value: Any) -> str:
    return value.decode("ascii", "surrogateescape") if isinstance(value, bytes) else str(value or "")
