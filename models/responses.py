"""HTTP responses of providers, put in order before client libraries read them.

Gateways and local servers answer whole where a stream was asked for, or the other way round. They send
comments, status and counts that nobody can count between the pieces of a stream, pass errors on with a 200,
and lead on to sign-in pages; clients fail of each, or send the key along.
"""

import json
import re
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing, suppress
from typing import Any

from models.error_bodies import is_page, status_in, words_of

_ANSWERS = ("choices", "candidates", "content")
"""Keys of a body that holds an answer."""
_OK, _REJECTED, _NOT_FOUND, _UNTOLD = 200, 400, 404, 500
_SAME_REQUEST = {307, 308}
"""Redirects by which a request is sent once more as it is."""
_COUNTED = re.compile(rb'"usage(?:Metadata)?"\s*:\s*[^\sn]')
"""Something is said about tokens."""
_COUNTS = {"usage", "usageMetadata"}
_CACHED = ("prompt_cache_hit_tokens", "cached_tokens")
"""How DeepSeek and Kimi say what OpenAI does in `prompt_tokens_details`."""
_COUNT = re.compile(r"tokens?(_?count)?$", re.IGNORECASE)
_LARGEST_COUNT = 10**12
_MOST_DIGITS = 12
_BOM = b"\xef\xbb\xbf"
_DONE = b"[DONE]"
_STREAMED = "it streams its answer, though a whole one was asked for; set streaming = true"
Shape = Callable[[dict[str, Any]], dict[str, Any]]
"""Gives a whole answer the shape that its client reads."""
Events = Callable[[Mapping[str, Any]], Iterable[Mapping[str, Any]]]
"""Gives the events of a stream that a whole answer would have been, each with its name as `type`."""


def in_order(shape: Shape, events: Events | None = None) -> Callable[[Any], Awaitable[None]]:
    """Return httpx's hook; `events` where a stream's are named."""

    async def hook(response: Any) -> None:
        library = library_of(response)
        kind, is_streamed = response.headers.get("content-type", ""), await _asks_for_stream(response.request)
        if response.has_redirect_location and not _stays(response):
            await _tell(library, response, _NOT_FOUND, f"it leads on to {_target(response)}")
        if response.status_code != _OK:
            return
        inner = library.Response(_OK, headers=response.headers, stream=response.stream)
        if is_streamed and not re.search("json|html", kind.replace("ndjson", "")):
            replace_body(library, response, _ordered(inner.aiter_bytes(), events), inner.aclose)
            return
        body = _pieces(_read(response, await inner.aread(), shape, is_streamed=is_streamed))
        is_answer = is_streamed and response.status_code == _OK
        replace_body(library, response, _ordered(body, events) if is_answer else body)

    return hook


def library_of(response: Any) -> Any:
    """Return httpx, or the copy of it that a client brings."""
    return sys.modules[type(response).__module__.partition(".")[0]]


async def _asks_for_stream(request: Any) -> bool:
    """Tell whether a request asks for a stream, Google's by its path."""
    return b'"stream":true' in await request.aread() or ":streamGenerateContent" in request.url.path


def _target(response: Any) -> str:
    """Return where a redirect leads, without what may be secret."""
    with suppress(Exception):  # it may be no address at all
        url = response.request.url.join(response.headers["location"])
        return str(url.copy_with(query=None, fragment=None, username="", password=""))
    return "no address that can be read"


def _stays(response: Any) -> bool:
    """Tell whether a redirect leads the same request to the same server."""
    try:
        old, new = response.request.url, response.request.url.join(response.headers["location"])
    except Exception:
        return False
    is_secured = (old.scheme, new.scheme, old.port, new.port) == ("http", "https", None, None)
    is_there = old.host == new.host and (is_secured or (old.scheme, old.port) == (new.scheme, new.port))
    return is_there and response.status_code in _SAME_REQUEST


async def _tell(library: Any, response: Any, status: int, words: str) -> None:
    await response.stream.aclose()
    response.status_code = status
    response.headers["content-type"] = "application/json"
    replace_body(library, response, _pieces(json.dumps({"error": {"message": words}}).encode()))


def replace_body(
    library: Any,
    response: Any,
    pieces: AsyncGenerator[bytes],
    close: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Give a response another body, unpacked; `close` ends its source."""
    response.stream = stream_of(library, pieces, close)
    for header in ("content-encoding", "content-length"):
        response.headers.pop(header, None)


def stream_of(
    library: Any, pieces: AsyncGenerator[bytes], close: Callable[[], Awaitable[None]] | None = None
) -> Any:
    """Return pieces as a response's stream; `close` ends their source."""

    class Body(library.AsyncByteStream):  # type: ignore[misc]
        def __aiter__(self) -> AsyncIterator[bytes]:
            return pieces

        async def aclose(self) -> None:
            await pieces.aclose()
            if close:
                await close()

    return Body()


async def _pieces(body: bytes) -> AsyncGenerator[bytes]:
    yield body


def _read(response: Any, body: bytes, shape: Shape, *, is_streamed: bool) -> bytes:
    """Return a whole body in order, and give an error its status.

    Where a stream was asked for, it is what holds its events, each JSON on a line.
    """
    body = body.removeprefix(_BOM)
    if is_page(body.decode(errors="replace")):  # of a website: there is no API at this address
        response.status_code = _NOT_FOUND
        return body
    value: Any = None
    with suppress(ValueError, RecursionError):
        value = json.loads(body)
    is_answer = isinstance(value, dict) and any(map(value.get, _ANSWERS))
    if isinstance(value, dict | list) and not is_answer and words_of(value):
        response.status_code = status_in(value) or _UNTOLD
    elif is_streamed and value is not None:
        answers = [each for each in (value if isinstance(value, list) else [value]) if isinstance(each, dict)]
        return b"\n".join(json.dumps(shape(each)).encode() for each in answers)
    elif body.lstrip().startswith((b"data:", b"event:")) and not is_streamed:
        response.status_code = _REJECTED
        return json.dumps({"error": {"message": _STREAMED}}).encode()
    elif isinstance(value, dict):
        return json.dumps(shape(_counted(value))).encode()
    return body


async def _ordered(chunks: AsyncGenerator[bytes], events: Events | None) -> AsyncGenerator[bytes]:
    """Yield a stream's events as they come, without all else."""
    event: list[bytes] = []
    async with aclosing(_lines(chunks)) as lines:
        async for line in lines:
            if _begins_anew(line, event):
                for each in _events_of(event, events):
                    yield each
                event = []
            event.append(line)
    for each in _events_of(event, events):
        yield each


async def _lines(chunks: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    rest: list[bytes] = []
    async with aclosing(chunks):
        async for chunk in chunks:
            first, *others = chunk.split(b"\n")
            rest.append(first)
            for each in others:
                yield b"".join(rest)
                rest = [each]
    yield b"".join(rest)


def _begins_anew(line: bytes, event: Sequence[bytes]) -> bool:
    """Tell whether an event has ended, be it without a blank line."""
    if not line.strip():
        return True
    starts = line.startswith((b"data: {", b"data:{", b"data: [DONE]", b"event:", b"{"))
    return starts and bool(event) and event[-1].rstrip().endswith((b"}", b"]"))


def _events_of(lines: Sequence[bytes], events: Events | None) -> Iterable[bytes]:
    """Yield the events that lines hold, as their client reads them."""
    name, data = b"", []
    for line in lines:
        field, colon, value = line.strip().removeprefix(_BOM).partition(b":")
        if field == b"event":
            name = value.strip()
        elif field == b"data" and colon:
            data.append(value.strip())
        elif field.startswith(b"{"):  # of JSON in lines
            data.append(line.strip())
    text = b" ".join(data)
    if not text.startswith((b"{", _DONE)) and name != b"error":
        return
    for told in _named(text, name, events):
        yield told + b"\n\n"


def _named(text: bytes, name: bytes, events: Events | None) -> Iterable[bytes]:
    value: Any = None
    is_odd = _COUNTED.search(text) or len(text.decode(errors="replace").splitlines()) > 1
    if is_odd or (events and (not name or name == b"message")):
        with suppress(ValueError, RecursionError):
            value = _counted(json.loads(text))
    if value is None:
        yield (b"event: " + name + b"\n" if events and name else b"") + b"data: " + text
        return
    for each in events(value) if events else [value]:
        told = str(each.get("type") or name.decode(errors="replace")).encode()
        if told or not events:
            yield (b"event: " + told + b"\n" if events else b"") + b"data: " + json.dumps(each).encode()


def _counted(value: Any) -> Any:
    """Return an answer, or a piece, without counts that are none."""
    if not isinstance(value, dict):
        return value
    told = {key: _counts(each) if key in _COUNTS else each for key, each in value.items()}
    for key in ("message", "x_groq"):  # Anthropic's first event, Groq's last
        told |= {key: _counted(told[key])} if key in told else {}
    if isinstance(choices := told.get("choices"), list):  # Kimi
        told["choices"] = [_counted(each) if "usage" in (each or ()) else each for each in choices]
    return told


def _counts(usage: Any) -> Any:
    """Return counts as integers; None where one of them is not understood."""
    if not isinstance(usage, dict):
        return None
    told: dict[str, Any] = {}
    for key, count in usage.items():
        if key.endswith("_details") and not isinstance(count, dict):
            continue
        if _COUNT.search(key) and count is not None:
            told[key] = _number(count)
        else:
            told[key] = _counts(count) if isinstance(count, dict) else count
        if told[key] is None and count is not None:
            return None
    cached = next((told[key] for key in _CACHED if told.get(key)), None)
    if cached and not (told.get("prompt_tokens_details") or {}).get("cached_tokens"):
        told["prompt_tokens_details"] = {**(told.get("prompt_tokens_details") or {}), "cached_tokens": cached}
    return told


def _number(count: Any) -> int | None:
    if isinstance(count, str) and count.isdecimal() and len(count) <= _MOST_DIGITS:
        return int(count)
    if isinstance(count, bool) or not isinstance(count, int | float):
        return None
    return int(count) if 0 <= count < _LARGEST_COUNT and count == int(count) else None
