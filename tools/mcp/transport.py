"""The two ways to an MCP server: a program of ours in its own process group, or streamable HTTP.

Through the official `mcp` client and not langchain-mcp-adapters: that leaves a program's stderr on the
person's terminal and its children running after it, lets a program read any variable as `${NAME}`,
and makes LangChain tools that would have to be taken apart again.
"""

import asyncio
import os
import signal
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import httpx

from base.processes import started
from base.settings import Settings
from tools.mcp.config import ServerCard, check_url
from tools.web.guard import open_client

_LONGEST_MESSAGE = 10_000_000
"""Bytes."""
_GRACE_S = 1.0
"""For a program to end by itself once its input is closed, and once more after it was told to."""

_GLANCE_S = 0.01

Streams = tuple[Any, Any]
"""What a session reads from and writes to."""


class UnconfiguredError(Exception):
    """A variable that a server needs is not set."""


@dataclass(slots=True)
class LastWords:
    """What a program wrote to its stderr last; the most helpful thing there is when it does not start."""

    lines: deque[str] = field(default_factory=lambda: deque(maxlen=20))

    def __str__(self) -> str:
        return next((line for line in reversed(self.lines) if line.strip()), "").strip()[:300]


@asynccontextmanager
async def open_streams(
    card: ServerCard, settings: Settings, last_words: LastWords, broke_off: Callable[[], None]
) -> AsyncIterator[Streams]:
    """Open the way to a server, and leave nothing of it running.

    Args:
        card: the server's table.
        settings: where the variables are that it names.
        last_words: takes what a program complains of.
        broke_off: called where an answer over HTTP ends half way.

    Raises:
        UnconfiguredError: a variable that it needs is not set.
        OSError: the program cannot be started.
    """
    way = _over_http(card, settings, broke_off) if card.url else _over_pipes(card, settings, last_words)
    async with way as streams:
        yield streams


def _values(names: Mapping[str, str], settings: Settings) -> dict[str, str]:
    """Return what each variable holds, by the key it is needed under."""
    values = {key: settings.secret(variable) for key, variable in names.items()}
    if unset := [names[key] for key, value in values.items() if value is None]:
        raise UnconfiguredError(f"{unset[0]} is not set")
    return {key: value for key, value in values.items() if value is not None}


@asynccontextmanager
async def _over_http(
    card: ServerCard, settings: Settings, broke_off: Callable[[], None]
) -> AsyncIterator[Streams]:
    from mcp.client.streamable_http import streamable_http_client

    async def limit(response: httpx.Response) -> None:
        _refuse_packed(response)
        response.stream = _Limited(response, broke_off)

    url = check_url(card.url or "")
    port = url.port or {"http": 80, "https": 443}[url.scheme]
    host = f"[{url.host}]" if ":" in url.host else url.host
    client = open_client(
        settings,
        only=[f"{host}:{port}"],
        headers={"Accept-Encoding": "identity", **_values(card.headers_env, settings)},
        timeout=httpx.Timeout(card.connect_timeout_s, read=card.timeout_s + card.connect_timeout_s),
    )
    client.event_hooks = {"response": [limit]}
    async with client, streamable_http_client(str(url), http_client=client) as (incoming, outgoing, _):
        yield incoming, outgoing


class _Limited(httpx.AsyncByteStream):
    """An answer that may not be too long, and whose breaking off is told: the client would wait on."""

    def __init__(self, response: httpx.Response, broke_off: Callable[[], None]) -> None:
        self._inner: Any = response.stream
        self._awaited = response.request.method == "POST"
        self._streamed = response.headers.get("content-type", "").startswith("text/event-stream")
        self._broke_off = broke_off

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = _LONGEST_MESSAGE
        try:
            async for chunk in self._inner:
                left -= len(chunk)
                if left < 0:
                    raise httpx.ReadError(f"its answer is longer than {_LONGEST_MESSAGE:,} bytes")
                yield chunk
        except httpx.HTTPError:
            self._tell(self._awaited)
            raise
        self._tell(self._awaited and self._streamed)  # a whole one is closed by its reader before its end

    def _tell(self, broken: bool) -> None:
        if broken:
            self._broke_off()

    async def aclose(self) -> None:
        await self._inner.aclose()


def _refuse_packed(response: httpx.Response) -> None:
    """Refuse a packed answer, which may unpack to any size."""
    if response.headers.get("content-encoding", "identity") != "identity":
        raise httpx.DecodingError(
            "it packs its answers although it was asked not to", request=response.request
        )


@asynccontextmanager
async def _over_pipes(card: ServerCard, settings: Settings, last_words: LastWords) -> AsyncIterator[Streams]:
    import anyio
    from mcp.client.stdio import get_default_environment

    variables = _values({name: name for name in card.env_from}, settings)
    process = await started(
        card.command or "",
        *card.args,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**get_default_environment(), **variables},
        cwd=card.cwd,
        limit=_LONGEST_MESSAGE,
    )
    into, incoming = anyio.create_memory_object_stream[Any](0)
    outgoing, out_of = anyio.create_memory_object_stream[Any](0)
    at_work = [
        asyncio.create_task(_receive(process.stdout, into)),
        asyncio.create_task(_send(process.stdin, out_of)),
        asyncio.create_task(_listen(process.stderr, last_words)),
    ]
    try:
        yield incoming, outgoing
    finally:
        await _end(process, at_work)
        for stream in (into, incoming, outgoing, out_of):
            stream.close()


async def _receive(pipe: Any, into: Any) -> None:
    """Hand on what a program says, line by line, until it says no more or a line is too long."""
    from anyio import BrokenResourceError, ClosedResourceError
    from mcp.shared.message import SessionMessage
    from mcp.types import JSONRPCMessage
    from pydantic import ValidationError

    with suppress(ValueError, BrokenResourceError, ClosedResourceError):
        async with into:
            while line := await pipe.readline():
                try:
                    message = JSONRPCMessage.model_validate_json(line)
                except ValidationError:  # a banner, a stray print
                    continue
                await into.send(SessionMessage(message))
    await _discard(pipe)


async def _send(pipe: Any, out_of: Any) -> None:
    with suppress(OSError):
        async with out_of:
            async for message in out_of:
                line = message.message.model_dump_json(by_alias=True, exclude_none=True)
                pipe.write(f"{line}\n".encode())
                await pipe.drain()


async def _listen(pipe: Any, last_words: LastWords) -> None:
    with suppress(ValueError):
        while line := await pipe.readline():
            last_words.lines.append(line[:1_000].decode(errors="replace"))
    await _discard(pipe)


async def _discard(pipe: Any) -> None:
    while await pipe.read(65_536):
        pass


async def _end(process: asyncio.subprocess.Process, at_work: list[asyncio.Task[None]]) -> None:
    """Let a program end by itself, then make it, then end whatever is left of its process group."""
    receiving, sending, listening = at_work
    try:
        sending.cancel()
        if process.stdin:
            process.stdin.close()
        for number in (None, signal.SIGTERM):
            _signal(process.pid, number)
            if await _has_ended(process):
                break
    finally:
        _signal(process.pid, signal.SIGKILL)
        # To the end of its output, for only then does asyncio let go of the pipes.
        await asyncio.wait([receiving, listening], timeout=_GRACE_S)
        for task in at_work:
            task.cancel()
        await asyncio.gather(*at_work, return_exceptions=True)
        with suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), _GRACE_S)


async def _has_ended(process: asyncio.subprocess.Process) -> bool:
    # Not process.wait(): that waits for the pipes too, which a child of the program may hold open.
    for _ in range(int(_GRACE_S / _GLANCE_S)):
        if process.returncode is not None:
            return True
        await asyncio.sleep(_GLANCE_S)
    return False


def _signal(group: int, number: signal.Signals | None) -> None:
    if number is not None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(group, number)
