"""What a provider says of an error, wherever its body holds it.

OpenAI and Anthropic have `error.message`, FastAPI and Open WebUI `detail`, OpenRouter another's body as text
in `error.metadata.raw`, LiteLLM the same within a sentence, Cloudflare a list, a proxy a page of HTML.
"""

import html
import json
import re
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any

MOST_WORDS = 300
"""Characters of a provider's own words that a person is told."""
_MOST_READ = 10_000
"""Characters of a text in a body that are looked through."""
_MOST_OF_A_PAGE = 4_000
"""And of a page, or of codes."""
_MOST_LISTED = 5
"""Errors of a list."""
_MOST_CODES = 100
_ERRORS, _DIGITS = range(400, 600), 4
"""HTTP statuses."""

_MESSAGE_KEYS = (
    "message",
    "Message",
    "msg",
    "error_message",
    "error_msg",
    "errmsg",
    "status_msg",
    "detail",
    "details",
    "error",
    "errors",
    "base_resp",
)
_LAST_KEYS = ("error_description", "description", "reason", "title")
_STATUS_KEYS = ("code", "status", "status_code", "statusCode", "http_code")
_ECHO_KEYS = {"input", "ctx", "failed_generation", "flagged_input"}
"""Keys of what the request or the model said."""

_JSON = json.JSONDecoder()
_REPR = re.compile(r"""["'](?:message|detail)["']: *(?:"((?:[^"\\]|\\.)+)"|'((?:[^'\\]|\\.)+)')""")
"""The words in a dict that Python printed, as gateways do."""
_PREAMBLE = re.compile(r"^Error code: \d+(?: - |$)")
_PAGE = re.compile(r"\s*<(?:!doctype|html|head|body|\?xml)", re.IGNORECASE)
_AT_CLOUDFLARE = re.compile(r"error code: 1\d{3}\s*$")
"""What its firewall says to who asks for no page."""
_TITLE = re.compile(r"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)
_UNREAD = re.compile(r"<(script|style)\b.*?</\1>", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"</?[a-z][^<>]*>|<[!?][^<>]*>", re.IGNORECASE)


class ToldError(Exception):
    """A piece of a stream, or a choice, that tells an error."""

    def __init__(self, body: Any) -> None:
        super().__init__("an error was told within the answer")
        self.body = body


def causes_of(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what caused it."""
    # A library may have made the chain a ring.
    seen: set[int] = set()
    found: BaseException | None = error
    while found and id(found) not in seen:
        seen.add(id(found))
        yield found
        found = found.__cause__ or found.__context__


def body_of(error: BaseException) -> Any:
    """Return the body that a client's error holds; None: it holds none."""
    for each in causes_of(error):
        held = (getattr(each, "body", None), getattr(each, "details", None))
        said = next((one for one in each.args[:1] if isinstance(one, dict | list)), None)  # LangChain's
        if body := next((one for one in (*held, said) if one and isinstance(one, str | dict | list)), None):
            return body
    return None


def is_page(body: Any) -> bool:
    """Tell whether a body is a website's or a firewall's."""
    texts = body.values() if isinstance(body, dict) else [body]  # Google's client puts it into an object
    return any(
        isinstance(text, str) and (_PAGE.match(text) or _AT_CLOUDFLARE.match(text)) is not None
        for text in texts
    )


def words_of(body: Any) -> str:
    """Return a body's own words, without JSON or markup; empty where none."""
    try:
        return _words(body)
    except RecursionError:
        return ""


def status_in(body: Any) -> int | None:
    """Return the HTTP status that a body names; None: it names none."""
    for level in islice(_objects(body), _MOST_CODES):
        for value in (level.get(key) for key in _STATUS_KEYS):
            if str(value).isdecimal() and int(str(value)[:_DIGITS]) in _ERRORS:
                return int(str(value))
    return None


def codes_in(body: Any) -> str:
    """Return all texts of a body in a row."""
    if isinstance(body, str):
        return body[:_MOST_OF_A_PAGE]
    texts = (
        str(value)
        for level in islice(_objects(body), _MOST_CODES)
        for key, value in level.items()
        if key not in _ECHO_KEYS and isinstance(value, str)
    )
    return " ".join(islice(texts, _MOST_CODES))[:_MOST_OF_A_PAGE]


def bounded(words: str, redact: Callable[[str], str]) -> str:
    """Return words on one line, redacted before they are cut."""
    line = " ".join(redact(words).split())
    return line if len(line) <= MOST_WORDS else f"{line[:MOST_WORDS].rstrip()}…"


def _objects(value: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the objects of a JSON value, those in texts too."""
    level = [value]
    while level:
        level = [_decoded(each) if isinstance(each, str) else each for each in level]
        inner: list[Any] = []
        for each in level:
            if isinstance(each, dict):
                yield each
                inner += [one for key, one in each.items() if key not in _ECHO_KEYS]
            elif isinstance(each, list):
                inner += each[:_MOST_LISTED]
        level = inner


def _decoded(text: str) -> Any:
    """Return the JSON object in a text; None: it holds none."""
    start = text.find("{", 0, _MOST_READ)
    try:
        return _JSON.raw_decode(text, start)[0] if start >= 0 else None
    except (ValueError, RecursionError):
        return None


def _words(body: Any) -> str:
    if isinstance(body, str):
        return _words_in_text(body[:_MOST_READ])
    if isinstance(body, list):
        return "; ".join(dict.fromkeys(filter(None, map(_words, body[:_MOST_LISTED]))))
    if not isinstance(body, dict) or body.get("status_code") == 0:  # MiniMax's word for success
        return ""
    first = [key for key in ("error", "errors") if isinstance(body.get(key), dict | list)]
    said = next(filter(None, (_words(body.get(key)) for key in (*first, *_MESSAGE_KEYS, *_LAST_KEYS))), "")
    if isinstance(body.get("loc"), list):  # FastAPI's: where in the request
        return f"{'.'.join(map(str, body['loc']))}: {said}"
    return _passed_on(body.get("metadata"), said)


def _passed_on(metadata: Any, said: str) -> str:
    """Return the words of the provider behind OpenRouter, where it has any."""
    if not isinstance(metadata, dict):
        return said
    reasons = metadata.get("reasons")
    inner = _words(metadata.get("raw")) or (", ".join(map(str, reasons)) if isinstance(reasons, list) else "")
    name = metadata.get("provider_name")
    told = inner or said
    return f"{name}: {told}" if told and isinstance(name, str) else told


def _words_in_text(text: str) -> str:
    if words := _words(_decoded(text)):
        return words
    if found := _REPR.search(text):
        return _plain(found[1] or found[2])
    if _PAGE.match(text):
        page = text[:_MOST_OF_A_PAGE]
        title = _TITLE.search(page)
        return _plain(title[1] if title else _UNREAD.sub(" ", page))
    return _plain(_PREAMBLE.sub("", text).split("{")[0])


def _plain(text: str) -> str:
    """Return a text without markup, empty without a letter."""
    words = " ".join(html.unescape(_TAG.sub(" ", text)).split())
    return words if any(map(str.isalpha, words)) else ""
