"""Transports to an MCP server: a program we start, or streamable HTTP.

Through the official `mcp` client and not langchain-mcp-adapters: that leaves a program's stderr on the
person's terminal and its children running after it, lets a program read any variable as `${NAME}`,
and makes LangChain tools that would have to be taken apart again.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any, Literal

import httpx

from base.json_size import JsonSize, values_in
from base.processes import Output, running
from base.settings import Settings
from base.texts import one_line
from tools.declaration import ToolFailure
from tools.mcp.config import ServerCard
from tools.web.guard import Door, open_client, read_url

_ENDING_S = 1.0
"""That a program has to end by itself once its input is closed."""
_LONGEST_MESSAGE = 5_000_000
"""Bytes."""
MOST_VALUES = 40_000
"""Of a message, texts left out: to make objects of so many empty lists takes the client up to 100 ms."""
_TOO_LARGE = f"what it says at once is more than {_LONGEST_MESSAGE:,} bytes, or {MOST_VALUES:,} values"
_REFUSAL_CHARS = 2_000
_OK, _REFUSALS = 200, range(400, 600)
"""HTTP statuses."""
_UNCLEAR = {404, 408, *range(500, 600)}
"""Those of requests of which nobody knows what the server did; others were not carried out."""
_ALSO_ITS_OWN = 500
"""From here on a server's own words say nothing of that either."""
_INTERNAL_ERROR = -32603
_TAG = re.compile(r"<[^<>]*>")
_GONE_STATUSES, _GONE_FOR_EVER = {400, 401, 404}, 410
_GONE = re.compile(r"session|not initialized", re.IGNORECASE)
"""How servers that do not know a session say so, with one of these statuses: the protocol wants 404, the
examples of its TypeScript package say 400 "No valid session ID provided" or "Server not initialized", older
releases of the Rust one 401 "Session not found"."""
REFUSED = "refused"
"""Key in the `data` of the error that stands for a refusal over HTTP."""
Refused = Literal["session", "unclear", "request"]
"""What was refused: an unknown session; nobody knows what; this request."""
Streams = tuple[Any, Any]
"""What a session reads from and writes to."""


def open_streams(
    card: ServerCard, settings: Settings, errors: Output, broke_off: Callable[[], None]
) -> AbstractAsyncContextManager[Streams]:
    """Open the way to a server, and leave nothing of it running.

    Args:
        card: the server's table.
        settings: where the variables are that it names.
        errors: takes what a program writes to standard error.
        broke_off: called where an answer over HTTP ends half way.

    Raises:
        ToolFailure: a variable that it needs is not set.
        OSError: the program cannot be started.
    """
    if card.url:
        return _over_http(card, settings, broke_off)
    return _over_pipes(card, settings, errors)


def _values(names: Mapping[str, str], settings: Settings) -> dict[str, str]:
    values = {key: settings.secret(variable) for key, variable in names.items()}
    if unset := [names[key] for key, value in values.items() if value is None]:
        raise ToolFailure(f"{unset[0]} is not set")
    return {key: value for key, value in values.items() if value is not None}


@asynccontextmanager
async def _over_http(
    card: ServerCard, settings: Settings, broke_off: Callable[[], None]
) -> AsyncIterator[Streams]:
    from mcp.client.streamable_http import streamable_http_client

    async def limit(response: httpx.Response) -> None:
        # A packed answer may unpack to any size.
        if response.headers.get("content-encoding", "identity") != "identity":
            words = "it packs its answers although it was asked not to"
            raise httpx.DecodingError(words, request=response.request)
        is_post = response.request.method == "POST"
        asked = json.loads(await response.request.aread()).get("id") if is_post else None
        refused = is_post and response.status_code in _REFUSALS
        limited = response.stream = _Limited(response, _ignore if refused else broke_off)
        if refused:
            response.stream = await _answer_of_refusal(response, limited, asked)
        elif asked is not None and response.status_code == _OK and not limited.is_streamed:
            response.stream = await _whole_answer(response, limited, asked)

    url = read_url(card.url or "")
    door = Door.of(url)
    host = f"[{url.host}]" if ":" in url.host else url.host
    client = open_client(
        settings,
        only=[f"{host}:{door.port}"],
        headers={"Accept-Encoding": "identity", **_values(card.headers_env, settings)},
        timeout=httpx.Timeout(card.connect_timeout_s, read=card.timeout_s + card.connect_timeout_s),
    )
    client.event_hooks = {"response": [limit]}
    async with client, streamable_http_client(str(url), http_client=client) as (incoming, outgoing, _):
        yield incoming, outgoing


def _ignore() -> None: ...


async def _answer_of_refusal(
    response: httpx.Response, stream: httpx.AsyncByteStream, asked: Any
) -> httpx.ByteStream:
    """Make a refusal over HTTP the answer to its request.

    The client would end the session, and with it all that it holds.
    """
    words, is_the_servers = _words_of(b"".join([chunk async for chunk in stream]))
    await stream.aclose()
    refused: Refused = "request"
    if response.status_code == _GONE_FOR_EVER or (
        response.status_code in _GONE_STATUSES and _GONE.search(words)
    ):
        refused = "session"
    elif response.status_code in _UNCLEAR and not (is_the_servers and response.status_code < _ALSO_ITS_OWN):
        refused = "unclear"
    said = f"HTTP {response.status_code} {words or response.reason_phrase}"
    response.status_code = 202 if asked is None else _OK  # nobody awaits the answer to a notification
    return _error(response, asked, said, refused)


async def _whole_answer(
    response: httpx.Response, stream: httpx.AsyncByteStream, asked: Any
) -> httpx.ByteStream:
    """Make whatever answers a request an answer as the protocol has it.

    The client would wait for one without an end.
    """
    body = b"".join([chunk async for chunk in stream])
    await stream.aclose()
    response.headers["content-type"] = "application/json"
    for told in _objects_in(body):
        if told.get("id") in {asked, str(asked), None} and (answer := _answer(told, asked)):
            return httpx.ByteStream(json.dumps(answer).encode())
    words, _ = _words_of(body)
    return _error(
        response, asked, f"it answers with what is no message of MCP: {words or 'nothing'}", "unclear"
    )


def _error(response: httpx.Response, asked: Any, said: str, refused: Refused) -> httpx.ByteStream:
    response.headers["content-type"] = "application/json"
    error = {"code": _INTERNAL_ERROR, "message": said, "data": {REFUSED: refused}}
    return httpx.ByteStream(json.dumps({"jsonrpc": "2.0", "id": asked, "error": error}).encode())


def _objects_in(body: bytes) -> list[dict[str, Any]]:
    """Return the JSON objects in a body or a line."""
    try:
        value = json.loads(body.removeprefix(b"\xef\xbb\xbf"))
    except (ValueError, RecursionError):
        return []
    return [each for each in (value if isinstance(value, list) else [value]) if isinstance(each, dict)]


def _answer(told: Mapping[str, Any], asked: Any) -> dict[str, Any] | None:
    """Return an answer as JSON-RPC has it; None: it is none."""
    error, result = told.get("error"), told.get("result")
    if error is not None:
        code = error.get("code") if isinstance(error, dict) else None
        code = code if isinstance(code, int) else _INTERNAL_ERROR
        words, _ = _words_of(json.dumps({"error": error}).encode())
        return {"jsonrpc": "2.0", "id": asked, "error": {"code": code, "message": words}}
    if "result" not in told:
        return None
    if not isinstance(result, dict):
        text = result if isinstance(result, str) else json.dumps(result)
        result = {"content": [] if result is None else [{"type": "text", "text": text}]}
    return {"jsonrpc": "2.0", "id": asked, "result": result}


def _words_of(body: bytes) -> tuple[str, bool]:
    """Return what a refusal says, and whether MCP's server says it."""
    text = body.decode(errors="replace").strip()
    with suppress(ValueError, RecursionError):
        match json.loads(text):
            case {"error": {"message": str(words)}}:
                return words[:_REFUSAL_CHARS], True
            case {"error": str(words)} | {"message": str(words)} | {"detail": str(words)}:
                return words[:_REFUSAL_CHARS], False
    if text.startswith("<"):  # a page
        text = _TAG.sub(" ", text[: _REFUSAL_CHARS * 2]).strip()
    return one_line(text, _REFUSAL_CHARS), False


class _Limited(httpx.AsyncByteStream):
    """A bounded answer that tells when it breaks off.

    The client would wait on.
    """

    def __init__(self, response: httpx.Response, broke_off: Callable[[], None]) -> None:
        self._inner: Any = response.stream
        self._awaited = response.request.method == "POST"
        self.is_streamed = response.headers.get("content-type", "").startswith("text/event-stream")
        self._broke_off = broke_off

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left, size = _LONGEST_MESSAGE, JsonSize()
        try:
            async for chunk in self._inner:
                left -= len(chunk)
                size.add(chunk)
                if left < 0 or size.values > MOST_VALUES:
                    raise httpx.ReadError(_TOO_LARGE)
                yield chunk
        except httpx.HTTPError:
            if self._awaited:
                self._broke_off()
            raise
        if self._awaited and self.is_streamed:  # a whole one is closed by its reader before its end
            self._broke_off()

    async def aclose(self) -> None:
        await self._inner.aclose()


@asynccontextmanager
async def _over_pipes(card: ServerCard, settings: Settings, errors: Output) -> AsyncIterator[Streams]:
    import anyio
    from mcp.client.stdio import get_default_environment

    variables = _values({name: name for name in card.env_from}, settings)
    async with running(
        card.command or "",
        *card.args,
        env={**get_default_environment(), **variables},
        errors=errors,
        cwd=card.cwd,
        longest_line=_LONGEST_MESSAGE,
        patience_s=_ENDING_S,
    ) as program:
        into, incoming = anyio.create_memory_object_stream[Any](0)
        outgoing, out_of = anyio.create_memory_object_stream[Any](0)
        awaited: set[Any] = set()
        receiving = asyncio.create_task(_receive(program.stdout, into, errors, awaited))
        sending = asyncio.create_task(_send(program.process.stdin, out_of, awaited))
        try:
            yield incoming, outgoing
        finally:
            receiving.cancel()
            sending.cancel()
            await asyncio.gather(receiving, sending, return_exceptions=True)
            for stream in (into, incoming, outgoing, out_of):
                stream.close()


async def _receive(pipe: Any, into: Any, errors: Output, awaited: set[Any]) -> None:
    """Hand on a program's lines, until one is too long."""
    from anyio import BrokenResourceError, ClosedResourceError
    from mcp.shared.message import SessionMessage

    with suppress(BrokenResourceError, ClosedResourceError):
        async with into:
            while line := await _line(pipe, errors):
                for told in _objects_in(line):
                    with suppress(ValueError):
                        await into.send(SessionMessage(_message(told, awaited)))


def _message(told: dict[str, Any], awaited: set[Any]) -> Any:
    """Return a message; results unchecked, in a tenth of the time.

    An error that names no request answers the only one there is.
    """
    from mcp.types import JSONRPCMessage, JSONRPCResponse

    number = told.get("id")
    if number is None and len(awaited) == 1 and "method" not in told:
        (number,) = awaited
    number = int(number) if isinstance(number, str) and number.isdecimal() else number
    answer = _answer(told, number) if number in awaited and "method" not in told else None
    if answer is None:
        return JSONRPCMessage.model_validate(told)
    awaited.discard(number)
    if "error" in answer:
        return JSONRPCMessage.model_validate(answer)
    return JSONRPCMessage(JSONRPCResponse.model_construct(**answer))


async def _line(pipe: asyncio.StreamReader, errors: Output) -> bytes:
    with suppress(ValueError):
        line = await pipe.readline()
        if values_in(line) <= MOST_VALUES:
            return line
    errors.add(f"\n{_TOO_LARGE}\n".encode())
    return b""


async def _send(pipe: Any, out_of: Any, awaited: set[Any]) -> None:
    with suppress(OSError):
        async with out_of:
            async for message in out_of:
                if isinstance(getattr(message.message.root, "method", None), str):
                    awaited.update({message.message.root.id} if hasattr(message.message.root, "id") else ())
                line = message.message.model_dump_json(by_alias=True, exclude_none=True)
                pipe.write(f"{line}\n".encode())
                await pipe.drain()
