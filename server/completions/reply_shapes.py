"""What a turn says, as answers of chat completions."""

import asyncio
import json
import time
import uuid
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any

from fastapi import Response
from fastapi.responses import JSONResponse

from base.errors import (
    AllowanceError,
    BadMessageError,
    BusyThreadError,
    ConfigurationError,
    NoModelAnsweredError,
    NothingPendingError,
    StorageError,
    TwobrainError,
    UnknownThreadError,
)
from base.texts import visible
from channels.dialogue import Dialogue, card_text, receipts_text
from graphs.result import Result
from graphs.session import Orchestrator
from graphs.stream import Confirmation, Done, Event
from nodes.context import Context
from nodes.events import Restarted, Token, ToolStarted
from server.completions.chat_threads import Chats, ChatTurn
from server.completions.request_shapes import Completion, attachments_of

_SILENCE_S = 15.0
"""Seconds without a word after which a stream says that it lives."""
_STARTED_ANEW = "\n\n*(It broke off, and begins anew.)*\n\n"
_TOKEN_COUNTS = ("input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens")
_ERROR_STATUS: Mapping[type[TwobrainError], tuple[int, str]] = {
    BadMessageError: (400, "invalid_request"),
    AllowanceError: (429, "insufficient_quota"),
    BusyThreadError: (409, "busy"),
    UnknownThreadError: (404, "not_found"),
    ConfigurationError: (400, "invalid_request"),
    NoModelAnsweredError: (502, "no_model_answered"),
    StorageError: (503, "storage_away"),
}


class CompletionError(Exception):
    """A request that is answered with an error in OpenAI's form."""

    def __init__(self, status: int, message: str, code: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


@dataclass(frozen=True, slots=True)
class Part:
    """A part of an answer."""

    text: str = ""
    thought: str = ""
    """What is done meanwhile; many programs show it apart."""
    is_void: bool = False
    """What was said before counts no more."""
    result: Result | None = None
    """How the turn stands; with the last part."""


async def spoken(text: str) -> AsyncGenerator[Part, None]:
    """Yield words that no turn said."""
    yield Part(text, result=Result(""))


async def turn(
    orchestrator: Orchestrator, asked: Completion, user: str, headers: Mapping[str, str], context: Context
) -> AsyncGenerator[Part, None]:
    """Run a turn of a chat, and yield what it says."""
    chats, dialogue = Chats(orchestrator.ledger), Dialogue(orchestrator, user)
    place = await chats.place(asked, user, headers)
    message, answer = asked.said[-1], ""
    events = dialogue.say(
        place.thread,
        message.text,
        attachments=attachments_of(message),
        shown=place.shown,
        context=context,
        message_id=place.message_id,
        before=place.before,
    )
    async with aclosing(_parts(dialogue, events, place)) as parts:
        async for part in parts:
            answer = part.text if part.is_void else answer + part.text
            if part.result:
                await chats.note(asked, user, headers, place.thread, answer)
            yield part


async def _parts(
    dialogue: Dialogue, events: AsyncGenerator[Event, None], place: ChatTurn
) -> AsyncGenerator[Part, None]:
    """Yield what a turn says; a repeated answer is told it again."""
    try:
        async with aclosing(_said(dialogue, events)) as parts:
            async for part in parts:
                yield part
    except NothingPendingError as error:
        if not place.is_again:
            yield Part(str(error), result=await dialogue.result(place.thread))
            return
        async with aclosing(_said(dialogue, dialogue.go_on(place.thread))) as parts:
            async for part in parts:
                yield part


async def _said(dialogue: Dialogue, events: AsyncGenerator[Event, None]) -> AsyncGenerator[Part, None]:
    said, asked = "", None
    async with aclosing(events):
        async for event in events:
            if isinstance(event, Token):
                said += event.text
                yield Part(event.text)
            elif isinstance(event, Restarted):
                said = ""
                yield Part(is_void=True)
            elif isinstance(event, ToolStarted):
                yield Part(thought=f"{visible(event.tool)} …\n")
            elif isinstance(event, Confirmation):
                asked = event.request
            elif isinstance(event, Done):
                result = replace(event.result, pending=asked or event.result.pending)
                yield Part(_rest(dialogue, result, said), result=result)


def _rest(dialogue: Dialogue, result: Result, said: str) -> str:
    """Return what is still to be said at a turn's end."""
    gap = "\n\n" if said.strip() else ""
    if result.pending:
        return gap + card_text(result.pending, may_answer=dialogue.may_answer(result.pending))
    rest = result.response.removeprefix(said) if result.response.startswith(said) else gap + result.response
    done = receipts_text(result)
    return f"{rest}\n\n({done})" if done else rest


class Shape:
    """The form of one answer."""

    def __init__(self, asked: Completion) -> None:
        self._about = {
            "id": f"chatcmpl-{uuid.uuid4().hex}",
            "created": int(time.time()),
            "model": asked.model,
        }
        self._with_usage = bool(asked.stream_options and asked.stream_options.include_usage)

    def whole(self, text: str, result: Result) -> dict[str, Any]:
        """Return an answer that is not streamed."""
        message = {"role": "assistant", "content": text, "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _finish(result)}
        about = {**self._about, "object": "chat.completion"}
        return {**about, "choices": [choice], "usage": _usage(result)}

    def chunk(self, delta: Mapping[str, Any], finish: str | None = None) -> str:
        """Return a part of one that is."""
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        usage = {"usage": None} if self._with_usage else {}
        return _event({**self._about, "object": "chat.completion.chunk", "choices": [choice], **usage})

    def end(self, result: Result) -> str:
        """Return the last parts: why it ends, and what it took."""
        last = self.chunk({}, _finish(result))
        about = {**self._about, "object": "chat.completion.chunk"}
        counted = _event({**about, "choices": [], "usage": _usage(result)}) if self._with_usage else ""
        return last + counted


async def whole(shape: Shape, first: asyncio.Task[Part], parts: AsyncGenerator[Part, None]) -> Response:
    """Return the answer once all of it is there."""
    text, part = "", first.result()
    try:
        async with aclosing(parts):
            while True:
                text = part.text if part.is_void else text + part.text
                if part.result:
                    return JSONResponse(shape.whole(text, part.result))
                part = await anext(parts)
    except TwobrainError as error:
        return refusal(as_refusal(error))


async def streamed(
    shape: Shape, first: asyncio.Task[Part], parts: AsyncGenerator[Part, None]
) -> AsyncGenerator[str, None]:
    """Yield an answer's parts as server-sent events, and a sign of life."""
    yield shape.chunk({"role": "assistant", "content": ""})
    said = ""
    try:
        async for part in _with_signs_of_life(first, parts):
            if part is None:
                yield ": still at work\n\n"
                continue
            text = _STARTED_ANEW if part.is_void and said else part.text
            said += text
            for delta in ({"reasoning_content": part.thought}, {"content": text}):
                if any(delta.values()):
                    yield shape.chunk(delta)
            if part.result:
                yield shape.end(part.result)
    except TwobrainError as error:
        yield _event(as_error(as_refusal(error)))
    yield "data: [DONE]\n\n"


async def _with_signs_of_life(
    coming: asyncio.Task[Part], parts: AsyncGenerator[Part, None]
) -> AsyncGenerator[Part | None, None]:
    """Yield the parts, and None where there was none for a while."""
    try:
        while True:
            while not (await asyncio.wait([coming], timeout=_SILENCE_S))[0]:
                yield None
            yield coming.result()
            if coming.result().result:
                return
            coming = asyncio.ensure_future(anext(parts))
    finally:
        if not coming.done():
            coming.cancel()
            await asyncio.wait([coming])
        await parts.aclose()


def _event(data: Mapping[str, Any]) -> str:
    return f"data: {json.dumps(data)}\n\n"


def _finish(result: Result) -> str:
    return "length" if result.stop_reason == "truncated" else "stop"


def _usage(result: Result) -> dict[str, Any]:
    counted = {name: result.usage.get(name) or 0 for name in _TOKEN_COUNTS}
    read, written = counted["input_tokens"], counted["output_tokens"]
    return {
        "prompt_tokens": read,
        "completion_tokens": written,
        "total_tokens": read + written,
        "prompt_tokens_details": {"cached_tokens": counted["cached_tokens"]},
        "completion_tokens_details": {"reasoning_tokens": counted["reasoning_tokens"]},
    }


def as_refusal(error: TwobrainError) -> CompletionError:
    """Return an error as a request is to be answered with."""
    status, code = next(
        (found for kind, found in _ERROR_STATUS.items() if isinstance(error, kind)), (500, "failed")
    )
    return CompletionError(status, str(error), code)


def as_error(error: CompletionError) -> dict[str, Any]:
    """Return an error in OpenAI's form."""
    kind = "invalid_request_error" if error.status < HTTPStatus.INTERNAL_SERVER_ERROR else "server_error"
    return {"error": {"message": str(error), "type": kind, "param": None, "code": error.code}}


def refusal(error: CompletionError) -> Response:
    """Return the answer to a request that is refused."""
    # OpenAI's clients send again what ended so, unless they are told not to.
    return JSONResponse(as_error(error), error.status, {"x-should-retry": "false"})
