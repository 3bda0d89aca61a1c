"""Redaction: texts without keys and passwords, as they are shown and stored."""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import unquote

from base.texts import mended

Redact = Callable[[str], str]

_SECRET_VARIABLE = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD|CREDENTIAL|HEADER)S?$")
_URL_PASSWORD = re.compile(r"\b[a-z][a-z0-9+.-]*://[^/\s:@]*:([^/\s@]+)@", re.IGNORECASE)
_DATABASE_LOGIN = re.compile(r"^postgres(?:ql)?://[^:@]*:(.+)@", re.DOTALL)
"""The password in a database's, whatever stands in it."""
_ASKED_PASSWORD = re.compile(r"[?&](?:ssl)?password=([^&\s]+)", re.IGNORECASE)
"""A password that a URL has as a parameter."""
_SHORTEST_SECRET = 6
"""Characters; a shorter value is too common a string to strip from text."""
_SHAPES = {
    "sk-": r"[\w-]{16,}",
    "AIza": r"[\w-]{20,}",
    "tb_": r"[\w-]{40,}",
    **dict.fromkeys(("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), r"\w{20,}"),
    **dict.fromkeys(("xoxa-", "xoxb-", "xoxp-"), r"[\w-]{10,}"),
}
"""How keys begin, and what follows."""
_BEARER = "Bearer "
_SHAPED = re.compile(
    rf"\b(?:{'|'.join(begin + rest for begin, rest in _SHAPES.items())})|(?<={_BEARER})[\w.~+/-]{{8,}}=*"
)


def secrets_of(environ: Mapping[str, str], named: Iterable[str | None]) -> list[str]:
    """Return the values to strip from texts, the longest first.

    What a variable such as `X_KEY` or `X_PASSWORD` holds is one, and so is a password in any variable's URL;
    `named` are further variables that hold one.
    """
    variables = {*named, *filter(_SECRET_VARIABLE.search, environ)}
    values = {environ.get(variable or "", "").strip() for variable in variables}
    values |= {unquote(value) for value in values}  # as OTEL_EXPORTER_OTLP_HEADERS has them
    values |= {value.partition(" ")[2] for value in values}  # without its scheme, such as `Bearer`
    values |= {
        said
        for value in environ.values()
        for shape in (_URL_PASSWORD, _DATABASE_LOGIN, _ASKED_PASSWORD)
        for found in shape.findall(value.strip())
        for said in (found, unquote(found))
    }
    return sorted((value for value in values if len(value) >= _SHORTEST_SECRET), key=len, reverse=True)


def redacted(text: str, secrets: Iterable[str]) -> str:
    """Replace every secret, and what is shaped like a key, by `[redacted]`."""
    for secret in secrets:
        text = text.replace(secret, "[redacted]")
    # To look for how they begin takes a twentieth of the time, which tells where a result has megabytes.
    begun = any(begin in text for begin in (*_SHAPES, _BEARER))
    return _SHAPED.sub("[redacted]", text) if begun else text


def redacted_text(text: str, redact: Redact) -> str:
    """Return a text as it may be stored: redacted and mended."""
    return mended(redact(text))


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
