"""OpenAI's chat completions, answered by whole turns with their gate."""

import asyncio
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, get_args

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from langchain_core.messages import AnyMessage, HumanMessage, SystemMessage
from langgraph_sdk import Auth
from pydantic import ValidationError

from base.errors import TwobrainError
from base.run_context import PathName
from base.settings import Settings
from graphs.session import Orchestrator
from nodes.context import Context, may_choose
from server.auth import authenticate
from server.completions.reply_shapes import (
    CompletionError,
    Shape,
    as_refusal,
    refusal,
    spoken,
    streamed,
    turn,
    whole,
)
from server.completions.request_shapes import MODEL_NAME, Completion

_PATHS = get_args(PathName)
_USUAL = ("orchestrator", "chat")
"""Roles that the assistant has anyway."""
_MOST_BYTES = 32 * 1024 * 1024
_AT_ONCE_S = 2.0
"""Seconds in which a stream may still turn out to be refused; then it begins."""
_TASK = "x-openwebui-task"
_TASKS = re.compile(
    r"\s*### task:|.*\b(concise|short|brief)\b.{0,60}\btitle\b.{0,80}\b(conversation|chat)\b",
    re.IGNORECASE | re.DOTALL,
)
"""In requests that chat programs send beside a chat: Open WebUI's templates, LibreChat's and LobeChat's."""
_UNCACHED = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
router = APIRouter()


@router.get("/v1/models")
async def models(request: Request) -> Response:
    """List what can be asked for as a model."""
    try:
        user = await _caller(request)
        names = _names(_orchestrator(request).settings, user)
    except CompletionError as error:
        return refusal(error)
    return JSONResponse({"object": "list", "data": [_model(name) for name in names]})


@router.get("/v1/models/{name:path}")
async def model(request: Request, name: str) -> Response:
    """Tell whether a model can be asked for."""
    try:
        user = await _caller(request)
        _context(_orchestrator(request).settings, user, name, "")
    except CompletionError as error:
        return refusal(error)
    return JSONResponse(_model(name))


@router.post("/v1/chat/completions")
async def completions(request: Request) -> Response:
    """Answer a chat's last message by a turn; see docs/completions.md."""
    try:
        user = await _caller(request)
        asked = await _read(request)
        orchestrator = _orchestrator(request)
        context = _context(orchestrator.settings, user, asked.model, asked.persona)
        if _is_task(asked, request.headers):
            said = await orchestrator.complete(_as_messages(asked), user=user)
            parts = spoken(said)
        else:
            parts = turn(orchestrator, asked, user, request.headers, context)
        first = asyncio.ensure_future(anext(parts))
        if (await asyncio.wait([first], timeout=_AT_ONCE_S if asked.stream else None))[0]:
            first.result()  # what is refused at once has a status of its own
    except CompletionError as error:
        return refusal(error)
    except TwobrainError as error:
        return refusal(as_refusal(error))
    shape = Shape(asked)
    if asked.stream:
        stream = streamed(shape, first, parts)
        return StreamingResponse(stream, media_type="text/event-stream", headers=_UNCACHED)
    return await whole(shape, first, parts)


def _orchestrator(request: Request) -> Orchestrator:
    found: Orchestrator = request.app.state.orchestrator
    return found


async def _caller(request: Request) -> str:
    """Return who sends a request.

    Raises:
        CompletionError: nobody who is known.
    """
    try:
        return str((await authenticate(request.headers))["identity"])
    except Auth.exceptions.HTTPException as error:
        code = "invalid_api_key" if error.status_code == HTTPStatus.UNAUTHORIZED else "not_allowed"
        raise CompletionError(error.status_code, str(error.detail), code) from None


async def _read(request: Request) -> Completion:
    """Return what is asked.

    Raises:
        CompletionError: it is not understood, or more than is done here.
    """
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _MOST_BYTES:
            raise CompletionError(413, f"At most {_MOST_BYTES:,} bytes are accepted.", "request_too_large")
    try:
        asked = Completion.model_validate_json(body)
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(map(str, problem["loc"])) or "the body"
        raise CompletionError(400, f"{place}: {problem['msg']}.", "invalid_request") from None
    if asked.n not in {None, 1}:
        raise CompletionError(400, "n: one answer is given, for a turn may act.", "unsupported_value")
    if asked.tool_choice not in {None, "auto", "none"} if isinstance(asked.tool_choice, str | None) else True:
        raise CompletionError(
            400, "tool_choice: the assistant has tools of its own, and calls no others.", "unsupported_value"
        )
    if (asked.response_format or {}).get("type", "text") != "text":
        raise CompletionError(400, "response_format: answers are text.", "unsupported_value")
    return asked


def _names(settings: Settings, user: str) -> list[str]:
    """Return what a user can name as a model."""
    if not may_choose(settings.user(user)):
        return [MODEL_NAME]
    roles = dict.fromkeys([*settings.roles, *settings.user(user).roles])
    return [
        MODEL_NAME,
        *(f"{MODEL_NAME}/{each}" for each in (*_PATHS, *(r for r in roles if r not in _USUAL))),
    ]


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": MODEL_NAME}


def _context(settings: Settings, user: str, name: str, persona: str) -> Context:
    """Return the choices that a model's name stands for.

    Raises:
        CompletionError: there is none of that name.
    """
    if name not in _names(settings, user):
        there = ", ".join(_names(settings, user))
        raise CompletionError(
            404, f"There is no model {name[:100]!r}; there are: {there}.", "model_not_found"
        )
    chosen = name.removeprefix(MODEL_NAME).removeprefix("/")
    choices: dict[str, Any] = {"path": chosen} if chosen in _PATHS else {}
    if chosen and not choices:
        choices = {"orchestrator": chosen, "responder": chosen}
    if persona and may_choose(settings.user(user)):
        choices["system_prompt"] = persona[:50_000]
    return Context.model_validate(choices)


def _is_task(asked: Completion, headers: Mapping[str, str]) -> bool:
    """Tell whether a program asks for a title, tags or the like."""
    if headers.get(_TASK) or (asked.metadata or {}).get("task"):
        return True
    said = asked.said
    return len(said) == 1 and bool(_TASKS.match(said[0].text))


def _as_messages(asked: Completion) -> list[AnyMessage]:
    persona = [SystemMessage(asked.persona)] if asked.persona else []
    return [*persona, HumanMessage("\n\n".join(each.text for each in asked.said))]
