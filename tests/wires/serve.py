"""One loopback server in a thread, on which any number of wires are opened, each with a brain."""

import asyncio
import json
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Protocol, Self

import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route

from tests.wires import anthropic, anthropic_rules, gemini, gemini_rules, openai, openai_rules
from tests.wires.brain import Brain, Heard, Kind, RefusedError, Reply, conversation


class Dialect(Protocol):
    """What a provider's module gives."""

    BASE: str
    """The path that the provider's clients expect at the end of a base URL."""
    PATHS: tuple[str, ...]

    def key_of(self, headers: Mapping[str, str]) -> str | None: ...
    def refuse_key(self, given: str | None) -> RefusedError: ...
    def error_body(self, status: int, message: str, reason: str = "") -> dict[str, Any]: ...
    def hear(self, raw: Mapping[str, Any], target: str, headers: Mapping[str, str]) -> Heard: ...
    def whole(self, heard: Heard, reply: Reply) -> dict[str, Any]: ...
    def events(self, heard: Heard, reply: Reply) -> Iterator[str]: ...


DIALECTS: Mapping[Kind, Dialect] = {"gemini": gemini, "openai": openai, "anthropic": anthropic}
RULES: Mapping[Kind, Callable[[Mapping[str, Any], Sequence[Reply]], None]] = {
    "gemini": gemini_rules.check,
    "openai": openai_rules.check,
    "anthropic": anthropic_rules.check,
}
"""Each takes a request's body and all replies given so far, and raises RefusedError."""


class ConnectionCutError(Exception):
    """Raised inside an answer to make the server drop the connection."""


@dataclass
class Wire:
    """A provider's endpoint: `url` for the client, `brain` for the answers, and what passed over it."""

    kind: Kind
    root: str
    """The address without the path that this provider's clients expect in a base URL."""
    brain: Brain = conversation
    key: str | None = None
    """None: any key, or none, will do."""
    heard: list[Heard] = field(default_factory=list)
    """Every request that passed the rules, in the order they came."""
    said: list[Reply] = field(default_factory=list)
    """The brain's replies, in the order they were ready."""
    rejected: list[str] = field(default_factory=list)
    """Why each refused request was refused; also a brain that raised, or whose reply cannot be sent."""

    @property
    def url(self) -> str:
        """The base URL to give to the provider's client."""
        return self.root + DIALECTS[self.kind].BASE

    async def answer(self, request: Request) -> Response:
        """Check one request as the provider does, and answer it."""
        dialect = DIALECTS[self.kind]
        try:
            body = await request.body()
        except ClientDisconnect:  # a client in a hurry: there is nobody to refuse
            return Response()
        try:
            heard = self._admit(dialect, dict(request.headers), request, body)
            self.heard.append(heard)
            # In a thread, so that a test may hold one answer back while others pass.
            reply = await asyncio.to_thread(self.brain, heard)
            response = _response(dialect, heard, reply)
        except RefusedError as refused:
            self.rejected.append(str(refused))
            told = dialect.error_body(refused.status, str(refused), refused.reason)
            return JSONResponse(told, refused.status)
        except Exception as error:
            self.rejected.append(f"the brain failed: {error!r}")
            return JSONResponse(dialect.error_body(500, repr(error), ""), 500)
        self.said.append(reply)
        await asyncio.sleep(reply.delay_s)
        return response

    def _admit(self, dialect: Dialect, headers: Mapping[str, str], request: Request, body: bytes) -> Heard:
        given = dialect.key_of(headers)
        if self.key is not None and given != self.key:
            raise dialect.refuse_key(given)
        try:
            raw = json.loads(body)
            RULES[self.kind](raw, self.said)
            return dialect.hear(raw, request.path_params.get("target", ""), headers)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise RefusedError(f"Invalid request: {error!r}") from error


def _response(dialect: Dialect, heard: Heard, reply: Reply) -> Response:
    headers = dict(reply.headers)
    if reply.error is not None:
        text = isinstance(reply.error, str)
        body = dialect.error_body(reply.status, str(reply.error)) if text else reply.error
        return JSONResponse(body, reply.status, headers)
    pieces, media = _pieces(dialect, heard, reply)
    return StreamingResponse(_send(pieces, reply), reply.status, headers, media)


def _pieces(dialect: Dialect, heard: Heard, reply: Reply) -> tuple[list[bytes], str]:
    if isinstance(reply.raw, tuple) or (reply.raw is None and heard.stream):
        texts = dialect.events(heard, reply) if reply.raw is None else reply.raw
        return [f"{text}\n\n".encode() for text in texts], "text/event-stream"
    body = json.dumps(dialect.whole(heard, reply)).encode() if reply.raw is None else reply.raw
    half = len(body) // 2
    return [body[:half], body[half:]], "application/json"


async def _send(pieces: Sequence[bytes], reply: Reply) -> AsyncIterator[bytes]:
    for i, piece in enumerate(pieces):
        if reply.cut and i >= len(pieces) // 2:
            raise ConnectionCutError
        await asyncio.sleep(reply.chunk_delay_s)
        yield piece


class Host:
    """The server; a context manager that answers on a free port of 127.0.0.1 while it is open."""

    def __init__(self, *, keep_alive: bool = False) -> None:
        self._app = Starlette()
        config = uvicorn.Config(
            self._app,
            http="h11",
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_config=None,
            log_level=100,
            timeout_keep_alive=600,  # whoever is to close a connection is the client
            # A connection that a client keeps for later outlives the test's event loop and warns.
            headers=[] if keep_alive else [("connection", "close")],
        )
        self._server = uvicorn.Server(config)
        self._server.force_exit = True
        self._socket = socket.socket()
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), daemon=True)

    def open(self, kind: Kind, brain: Brain = conversation, key: str | None = None) -> Wire:
        """Open a wire of its own address.

        Args:
            kind: whose wire.
            brain: the answers; may be replaced at any time through the wire's `brain`.
            key: the key that clients must send; None: any.
        """
        prefix = f"/{len(self._app.routes)}"
        host, port = self._socket.getsockname()
        wire = Wire(kind, f"http://{host}:{port}{prefix}", brain, key)
        routes = [Route(path, wire.answer, methods=["POST"]) for path in DIALECTS[kind].PATHS]
        if kind == "openai":
            routes += [Route(path, _models) for path in ("/v1/models", "/api/models", "/models")]
        self._app.router.routes.append(Mount(prefix, routes=routes))
        return wire

    @property
    def connections(self) -> int:
        """How many clients are connected now."""
        return len(self._server.server_state.connections)

    def __enter__(self) -> Self:
        self._socket.bind(("127.0.0.1", 0))
        self._socket.listen()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        self._thread.join(timeout=10)
        self._socket.close()


async def _models(request: Request) -> Response:
    return JSONResponse(openai.models_body())
