"""What the page's routes share: what is open, JSON, streams of events."""

import asyncio
import json
import math
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request, Response
from fastapi.responses import JSONResponse
from langgraph.store.base import BaseStore
from sse_starlette import EventSourceResponse, ServerSentEvent

from graphs.session import Orchestrator
from nodes.resources import Resources
from server.page.changes import Changes
from server.page.conversations import Conversations, FirstLines
from server.page.live_turns import LiveTurns
from server.page.sign_in import PageError, PageUser, user_of

_CHECKED_S = 3.0
"""Seconds after which whoever listens is looked up again."""
_PING_S = 15
_SEND_S = 60.0
"""Seconds until one who listens and reads nothing is given up."""


@dataclass(frozen=True, slots=True)
class Page:
    """What the routes work with."""

    res: Resources
    orchestrator: Orchestrator
    turns: LiveTurns
    conversations: Conversations
    changes: Changes
    first_lines: FirstLines

    @property
    def store(self) -> BaseStore:
        """The memories."""
        found = self.orchestrator.graph.store
        assert found is not None  # noqa: S101 (a server's orchestrator has one)
        return found


@asynccontextmanager
async def open_page(res: Resources, orchestrator: Orchestrator) -> AsyncIterator[Page]:
    """Open it, and end its turns with it."""
    turns, changes = LiveTurns(orchestrator), Changes(res.ledger, res.settings)
    try:
        conversations = Conversations(orchestrator, turns)
        yield Page(res, orchestrator, turns, conversations, changes, FirstLines(orchestrator))
    finally:
        await turns.close()
        await changes.close()


def _page(request: Request) -> Page:
    opened: Page = request.app.state.page
    return opened


Opened = Annotated[Page, Depends(_page)]


_LARGEST_INTEGER = 2**53 - 1
"""Number.MAX_SAFE_INTEGER, of ECMAScript: JavaScript rounds larger integers."""


class Json(JSONResponse):
    """JSON that every browser reads, whatever a model or a tool wrote."""

    def render(self, content: Any) -> bytes:
        """Return it as bytes."""
        return as_json(content).encode()


def as_json(value: Any) -> str:
    """Return a value as JSON that a browser reads as it is.

    A number that it would read as another is a text, digit for digit.
    """
    return json.dumps(_exact(value), default=str)


def _exact(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _exact(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_exact(each) for each in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return str(value) if isinstance(value, int) and abs(value) > _LARGEST_INTEGER else value


def streamed(
    request: Request, who: PageUser, events: AsyncIterator[tuple[int | None, dict[str, Any]]]
) -> Response:
    """Return a stream of events for a listener who is known."""

    async def sent() -> AsyncIterator[ServerSentEvent]:
        yield ServerSentEvent(comment="open", sep="\n")
        async for number, event in _while_known(request, who, events):
            yield ServerSentEvent(as_json(event), id=None if number is None else str(number), sep="\n")

    headers = {"X-Accel-Buffering": "no"}
    return EventSourceResponse(sent(), headers=headers, ping=_PING_S, sep="\n", send_timeout=_SEND_S)


async def _while_known(
    request: Request, who: PageUser, events: AsyncIterator[tuple[int | None, dict[str, Any]]]
) -> AsyncIterator[tuple[int | None, dict[str, Any]]]:
    """Yield events until one who listens is signed out."""
    next_event: asyncio.Future[Any] | None = None
    checked = time.monotonic()
    try:
        while True:
            next_event = next_event or asyncio.ensure_future(anext(events))
            await asyncio.wait({next_event}, timeout=_CHECKED_S)
            if time.monotonic() - checked >= _CHECKED_S:
                checked = time.monotonic()
                if not await _is_known(request, who):
                    return
            if next_event.done():
                found, next_event = next_event, None
                yield found.result()
    except StopAsyncIteration:
        return
    finally:
        if next_event:
            next_event.cancel()


async def _is_known(request: Request, who: PageUser) -> bool:
    try:
        return (await user_of(request)).user == who.user
    except PageError:
        return False
