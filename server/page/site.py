"""The page's files, and its routes on conversations and turns."""

import asyncio
import base64
import uuid
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import Annotated, Any, get_args

from fastapi import APIRouter, FastAPI, Query, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from starlette.staticfiles import StaticFiles

from base.errors import DamagedThreadError, UnknownThreadError
from base.run_context import PathChoice
from graphs.attachments import Attachment
from graphs.result import condition_of, result_of
from graphs.session import check_thread
from graphs.stale_answers import stale_answer
from graphs.stream import Confirmation, Done, Event, told
from nodes.context import Context, may_choose
from server.page import agreements, consent, notifications, reports, sign_in
from server.page.live_turns import LiveTurn
from server.page.page import Json, Opened, Page, streamed
from server.page.sign_in import PLACE, PageError, PageRoute, PageUser, ThreadId, Who

_STATIC = Path(__file__).parent / "static"
_PAUSE_S = 0.5
_MOST_LOOKS = 6
"""For a turn that the ledger has as running, and that nobody holds."""
_CUT_SHORT = "The turn was cut short. Go on with it, or say something else."
_MOST_ATTACHMENTS = 10


def _decoded(text: Any) -> bytes:
    """Return what base64 stands for; nothing but base64 is taken."""
    if not isinstance(text, str):
        raise ValueError("base64 is expected")  # noqa: TRY004 (which pydantic would not tell)
    return base64.b64decode(text, validate=True)


class SentFile(BaseModel):
    """A file that comes with what a person says."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(max_length=1_000)
    type: str = Field(default="", max_length=200)
    data: Annotated[bytes, BeforeValidator(_decoded)]


class Spoken(BaseModel):
    """What a person says, and how it is to be answered."""

    model_config = ConfigDict(extra="forbid")

    text: str
    attachments: list[SentFile] = Field(default=[], max_length=_MOST_ATTACHMENTS)
    path: PathChoice | None = None
    model: str | None = Field(default=None, min_length=1, max_length=200)
    message_id: str | None = Field(default=None, min_length=1, max_length=200)
    """By which the same message is known where it is sent again; None: it is another one."""


class First(Spoken):
    """What a person says first, in a conversation that they may name."""

    id: str | None = None
    """None: the server names it. One that is there is gone on with."""


class Answered(BaseModel):
    """A person's decisions on what waits."""

    model_config = ConfigDict(extra="forbid")

    question: str = Field(min_length=1)
    decisions: list[dict[str, Any]] = Field(min_length=1)


class Title(BaseModel):
    """What a conversation is to be called."""

    model_config = ConfigDict(extra="forbid")

    title: str = Field(min_length=1, max_length=1_000, pattern=r"\S")


router = APIRouter(route_class=PageRoute)


@router.get("/me")
async def me(who: Who, page: Opened) -> Response:
    """Return who asks, and what they may choose and use."""
    settings, models = page.res.settings, page.orchestrator.models
    chooses = may_choose(settings.user(who.user))
    offered = [(name, card) for name, card in models.cards() if chooses and models.is_offered(name, who.user)]
    limits = settings.limits_of(who.user)
    tokens, usd = await page.res.ledger.used_today(who.user)
    return Json(
        {
            "user": who.user,
            "role": who.role,
            "guarded": who.guarded,
            "signed_in": who.secret is not None,
            "timezone": str(settings.zone(who.user)),
            "models": [{"name": name, "label": card.label or card.model or name} for name, card in offered],
            "paths": get_args(PathChoice) if chooses else ["auto"],
            "limits": {
                "tokens_per_day": limits.max_tokens_per_day,
                "cost_usd_per_day": limits.max_cost_usd_per_day,
            },
            "used_today": {"tokens": tokens, "cost_usd": usd},
            "attachments": {
                "max_bytes": int(limits.max_attachment_mb * 1_000_000),
                "max_count": _MOST_ATTACHMENTS,
            },
        }
    )


@router.get("/conversations")
async def conversations(who: Who, page: Opened, q: Annotated[str, Query(max_length=1_000)] = "") -> Response:
    """List what somebody may read, or of it what holds some words."""
    return Json(await page.conversations.listed(who, q))


@router.post("/conversations")
async def begin(given: First, who: Who, page: Opened) -> Response:
    """Begin a conversation, or go on with the one that is named."""
    thread = str(uuid.uuid4()) if given.id is None else given.id
    check_thread(thread)
    if given.id and await page.res.ledger.thread(thread):
        return await say(thread, given, who, page)
    events = _stream(page, given, thread, who)
    title = given.text.strip() or ", ".join(each.name for each in given.attachments)
    await page.res.ledger.touch(thread, user=who.user, status="running", title=title)
    return _begun(page.turns.begin(thread, who.user, events, given.message_id))


@router.get("/conversations/{thread}")
async def conversation(thread: ThreadId, who: Who, page: Opened) -> Response:
    """Return a conversation; its own person is told of it no more."""
    row = await page.conversations.find(thread, who)
    await notifications.read(page, who, row["thread"])
    return Json(await page.conversations.read(row))


@router.patch("/conversations/{thread}", status_code=204)
async def rename(thread: ThreadId, given: Title, who: Who, page: Opened) -> Response:
    """Call a conversation by another title."""
    row = await page.conversations.own(thread, who)
    await page.res.ledger.rename(row["thread"], who.user, given.title)
    return Response(status_code=204)


@router.delete("/conversations/{thread}", status_code=204)
async def delete(thread: ThreadId, who: Who, page: Opened) -> Response:
    """Delete a conversation."""
    await page.conversations.delete(await page.conversations.own(thread, who))
    return Response(status_code=204)


@router.post("/conversations/{thread}/turns")
async def say(thread: ThreadId, given: Spoken, who: Who, page: Opened) -> Response:
    """Say something more."""
    await page.conversations.own(thread, who)
    turn = page.turns.recent(thread)
    if turn and given.message_id and turn.message_id == given.message_id:
        return _begun(turn)
    events = _stream(page, given, thread, who)
    await page.turns.check_idle(thread)
    return _begun(page.turns.begin(thread, who.user, events, given.message_id))


@router.post("/conversations/{thread}/answer")
async def answer(thread: ThreadId, given: Answered, who: Who, page: Opened) -> Response:
    """Decide on what waits; an answer to another question is refused."""
    await page.conversations.answerable(thread, who)
    if not all(isinstance(each.get("tool_call_id"), str) for each in given.decisions):
        raise PageError(422, "Each decision names its call, as `tool_call_id`.")
    asked = await page.orchestrator.question(thread)
    if asked != given.question:
        raise await stale_answer(page.res.ledger, thread, asks_else=bool(asked))
    await page.turns.check_idle(thread)
    decided = {"decisions": given.decisions}
    context = Context(user=who.user)
    events = page.orchestrator.stream_resume(thread, decided, context=context, asked=asked)
    return _begun(page.turns.begin(thread, who.user, events))


@router.post("/conversations/{thread}/proceed")
async def proceed(thread: ThreadId, who: Who, page: Opened) -> Response:
    """Go on with a turn that was cut short."""
    await page.conversations.own(thread, who)
    await page.turns.check_idle(thread)
    events = page.orchestrator.stream_proceed(thread, context=Context(user=who.user))
    return _begun(page.turns.begin(thread, who.user, events))


@router.post("/conversations/{thread}/stop")
async def stop(thread: ThreadId, who: Who, page: Opened) -> Response:
    """Stop the turn that runs; it can be gone on with."""
    await page.conversations.own(thread, who)
    if not await page.turns.stop(thread):
        if await page.orchestrator.turns.is_held(thread):
            raise PageError(409, "This turn runs in another process, such as a terminal: stop it there.")
        raise PageError(409, "No turn of this conversation runs.")
    return Json({}, 202)


@router.get("/conversations/{thread}/events")
async def turn_events(thread: ThreadId, who: Who, page: Opened, request: Request) -> Response:
    """Stream a turn's events, from its first or after the last heard."""
    row = await page.conversations.find(thread, who)
    turn = page.turns.recent(thread)
    if turn is not None:
        start = turn.first_after(_last_id(request))
        if turn.ended_at is None or start < len(turn.events):
            return streamed(request, who, turn.listen(start))
    elsewhere = await page.orchestrator.turns.is_held(thread) or row["status"] == "running"
    return streamed(request, who, _followed(page, thread)) if elsewhere else Response(status_code=204)


@router.get("/events")
async def page_events(who: Who, page: Opened, request: Request) -> Response:
    """Stream what changes, for whoever has the page open."""

    async def numbered() -> AsyncIterator[tuple[None, dict[str, Any]]]:
        async for event in page.changes.listen(who.user):
            yield None, event

    return streamed(request, who, numbered())


def _stream(page: Page, given: Spoken, thread: str, who: PageUser) -> AsyncGenerator[Event, None]:
    """Return the events of a turn that is not begun yet.

    Raises:
        BadMessageError: the text is empty or too long.
        PageError: 403, they may not choose.
        ConfigurationError: the model is none of theirs.
    """
    chosen: dict[str, Any] = {"user": who.user}
    if (given.path or given.model) and not may_choose(page.res.settings.user(who.user)):
        raise PageError(403, "Which path and model answer you is chosen in twobrain.toml.")
    if given.path:
        chosen["path"] = given.path
    if given.model:
        page.orchestrator.models.require(given.model, who.user)
        chosen |= {"orchestrator": given.model, "responder": given.model}
    files = [Attachment(each.name, each.data, each.type) for each in given.attachments]
    context = Context.model_validate(chosen)
    return page.orchestrator.stream(
        given.text, attachments=files, thread_id=thread, context=context, message_id=given.message_id
    )


def _begun(turn: LiveTurn) -> Response:
    return Json({"id": turn.thread, "turn": turn.number}, 202)


def _last_id(request: Request) -> int:
    """Return the last event that a client has heard; 0: none."""
    said = request.headers.get("last-event-id") or request.query_params.get("last_event_id") or ""
    return int(said) if said.isascii() and said.isdecimal() and len(said) < 20 else 0  # noqa: PLR2004


async def _followed(page: Page, thread: str) -> AsyncIterator[tuple[None, dict[str, Any]]]:
    """Yield how a turn of another process ends."""
    looks = 0
    while looks < _MOST_LOOKS:
        looks = 0 if await page.orchestrator.turns.is_held(thread) else looks + 1
        row = await page.res.ledger.thread(thread)
        if looks and (row is None or row["status"] != "running"):
            break
        await asyncio.sleep(_PAUSE_S)
    try:
        snapshot = await page.orchestrator.snapshot(thread)
        result, condition = result_of(thread, snapshot), condition_of(snapshot)
    except (UnknownThreadError, DamagedThreadError) as error:
        yield None, {"event": "failed", "detail": str(error)}
        return
    if condition == "interrupted":
        yield None, {"event": "failed", "detail": _CUT_SHORT, "stopped": True}
        return
    if result.pending:
        yield None, told(Confirmation(result.pending))
    yield None, told(Done(result))


def add_page(app: FastAPI) -> None:
    """Add the page under /app; `app.state.page` is what `open_page` opens."""
    files = StaticFiles(directory=_STATIC)
    for each in (sign_in, reports, agreements, consent, notifications):
        app.include_router(each.router, prefix=f"{PLACE}/api", include_in_schema=False)
    app.include_router(router, prefix=f"{PLACE}/api", include_in_schema=False)
    app.mount(f"{PLACE}/static", files)

    @app.get(PLACE, include_in_schema=False)
    async def index(request: Request) -> Response:
        """Return the page."""
        return await files.get_response("index.html", request.scope)

    @app.get(f"{PLACE}/", include_in_schema=False)
    async def slash(request: Request) -> Response:
        """Lead to the page."""
        return RedirectResponse(request.scope.get("root_path", "") + PLACE)
