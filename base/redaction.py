"""Text as it may be stored: without secrets, and without what a database cannot hold."""

import json
from collections.abc import Callable, Mapping
from typing import Any

Redact = Callable[[str], str]


def redacted_text(text: str, redact: Redact) -> str:
    """Redact a text; what is not valid UTF-8, and NUL, become question marks."""
    return redact(text).encode("utf-8", "replace").decode().replace("\0", "?")


def redacted_json(value: Mapping[str, Any], redact: Redact) -> str:
    """Return JSON with every text and number in it redacted.

    Each by itself: in the finished JSON, a secret with a quote in it would be spelled differently.
    """
    return json.dumps(_redacted(value, redact))


def _redacted(value: Any, redact: Redact) -> Any:
    match value:
        case str():
            return redact(value)
        case bool() | None:
            return value
        case Mapping():
            return {redact(str(key)): _redacted(item, redact) for key, item in value.items()}
        case list() | tuple():
            return [_redacted(item, redact) for item in value]
        case _:
            text = str(value)
            return value if redact(text) == text else redact(text)
