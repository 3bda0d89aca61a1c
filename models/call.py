"""Call a role's models: retries, a deadline, the next where one fails."""

import asyncio
import logging
import random
import re
import time
import traceback
from collections.abc import Awaitable, Callable, Collection, Container, Coroutine, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from langchain_core.exceptions import ModelInvalidRequestError
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.runnables import RunnableBinding

from base.errors import Cause, ModelError, NoModelAnsweredError
from base.settings import ModelCard, Settings
from base.tasks import begin, within
from base.telemetry import Operation, messages_shown, shows_content
from models import replies
from models.catalog import Clients, ModelRegistry
from models.failures import RETRIED, BlankReplyError, UnusableReplyError, as_model_error, unsupported
from models.media import MEDIA, in_one_form, media_in, without
from models.overflow import Windows
from models.prices import cost_of
from models.providers import provider
from models.reply_stream import stream, streams
from models.thoughts import Words, lacks_begin

_log = logging.getLogger(__name__)

HIDDEN = "nostream"
"""LangGraph's tag for tokens that are not the person's to see."""

FETCHED = (
    "it points at {address!r}, and nothing at an address is fetched for a model. "
    "Send the picture or file itself, as base64 or a data: URL."
)
"""Said of what a provider's client would fetch by itself, around the guard against private addresses."""
_ADDRESS_KEY = re.compile(r"ur[il]$", re.IGNORECASE)
_NEVER_FETCHED = {"text", "tool_use", "tool_call", "function_call"}
"""Blocks of words and calls: what they name, tools reach behind the guard."""
_SHOWN_CHARS = 200

_GO_ON = "(Your answer was cut off. Go on exactly where it stopped, and repeat nothing.)"
_MOST_REPEATED, _LEAST_REPEATED = 200, 10
"""Characters of an answer that its continuation may begin with once more."""
_REJECTED = {400, 422}
"""HTTP statuses of a request that is refused for what it says."""
_CHARS_PER_TOKEN = 4
_FIRST_WAIT_S = 0.5
_LONGEST_WAIT_S = 20.0

_CANCEL_WAIT_S = 0.1
"""In which a client heeds a cancellation."""
_MOST_CANCELLATIONS = 10
"""Of one call; after them nobody waits for it any more."""


Fit = Callable[[int], Awaitable[Sequence[BaseMessage]]]
"""Gives about the same messages in so many characters, or in as few as they can take."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One request to a role's model."""

    role: str
    """Name of a role or of a model."""
    messages: Sequence[BaseMessage]
    user: str
    tools: Sequence[dict[str, Any]] = ()
    """In OpenAI's format; empty: the model is offered none."""
    known: Container[str] = ()
    """Names of tools that it may have read of, offered or not: JSON that calls one of them is no answer."""
    taken: Collection[str] = ()
    """Call ids that the conversation already holds."""
    hidden: bool = False
    """True: its tokens are not streamed to the person."""
    fit: Fit | None = None
    """For a model that finds the messages too long; None: they cannot be shortened."""
    chars: int = 0
    """About what messages and tools take; asked for only where they can be shortened."""
    described: bool = False
    """True: what pictures and files hold is told in words too, or they came with earlier messages: a model
    that takes none may answer."""
    deadline: float | None = None
    """`time.monotonic()` after which no further try begins; None: only each model's own timeout."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One call to one model, answered or not; None is unknown."""

    backend: str
    card: ModelCard
    usage: dict[str, Any] | None
    tokens: int
    """Input and output: as reported, or estimated where nothing was; 0 where nothing came back."""
    cost_usd: float | None
    duration_ms: float
    error: Cause | None
    is_void: bool
    """True: what was streamed of it is no part of the answer."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A usable answer and where it came from."""

    message: AIMessage
    backend: str
    card: ModelCard
    heard: str = ""
    """What was streamed of its words, its beginning; empty: none, or others that are void."""
    is_cut: bool = False
    """It ends within the answer, at a limit of its output."""
    failures: Mapping[str, ModelError] = field(default_factory=dict)
    """Why each model that stands before it in the role could not answer, by name."""


Account = Callable[[Attempt], Awaitable[None]]
"""Told of every attempt as it ends, failed ones too: they may have been billed."""


class Caller:
    """Calls models by role name."""

    def __init__(self, settings: Settings) -> None:
        self.registry = ModelRegistry(settings)
        self._clients = Clients(settings, self.registry)
        self._windows = Windows()
        self._begin_within: set[str] = set()
        """Models of which a reply began within thoughts, the first tag of which no reply of theirs holds."""
        self._redact = settings.redact
        self._logged: dict[str, str] = {}

    async def call(self, ask: Ask, account: Account) -> Reply:
        """Return the first usable answer of the role's models, in their order.

        Raises:
            UnknownModelError: the role names no model.
            NoModelAnsweredError: all failed; the message says how each did.
        """
        failures: dict[str, ModelError] = {}
        for name in self.registry.resolve(ask.role, ask.user):
            try:
                reply = await self._continued(await self._ask_model(name, ask, account), ask, account)
            except ModelError as error:
                failures[name] = last = ModelError(self._redact(str(error)), error.cause)
                self._log(name, str(last))
            else:
                self._logged.pop(name, None)
                return replace(reply, failures=failures)
        reasons = " ".join(map(str, failures.values()))
        raise NoModelAnsweredError(f"No model answered. {reasons}", last.cause, failures)

    def warm(self, role: str, user: str) -> asyncio.Task[None]:
        """Open the role's first usable model in the background."""

        async def open_first() -> None:
            with suppress(Exception):  # the call itself will say what is wrong
                name = self.registry.first_name(role, user)
                if self.registry.missing(name, user) is None:
                    await self._clients.open(name, user)

        return begin(open_first())

    async def close(self) -> None:
        """Close the models' connections on the running loop."""
        await self._clients.close()

    def _log(self, name: str, why: str) -> None:
        """Log why a model failed, once until that changes."""
        if self._logged.get(name) != why:
            self._logged[name] = why
            _log.warning("%s", why)

    async def _ask_model(self, name: str, ask: Ask, account: Account) -> Reply:
        """Ask one model, again without what it did not take."""
        card = self.registry.card(name)
        if lacking := self.registry.missing(name, ask.user):
            raise ModelError(f"Model {name!r}: {lacking}. Set it, or use another model.", "missing_key")
        ends = time.monotonic() + card.timeout_s
        ends = min(ends, ask.deadline) if ask.deadline else ends
        ask = await _shortened(ask, self._windows.room(name))
        try:
            return await self._ask_with_retries(name, card, ask, account, ends)
        except ModelError as error:
            mended = await self._mended(name, ask, error)
            if mended.messages == ask.messages:  # nothing is left to leave out
                raise
        return await self._ask_with_retries(name, card, mended, account, ends)

    async def _mended(self, name: str, ask: Ask, error: ModelError) -> Ask:
        """Return the request without what it did not take."""
        if error.cause == "unsupported" and ask.described:
            return replace(ask, messages=without(ask.messages, MEDIA))
        if error.cause == "bad_request" and _is_for_its_words(error):
            # Such as the calls of another model, which lack what this one's own would come with.
            return replace(ask, messages=replies.in_words(ask.messages), fit=None)
        if error.cause == "context_overflow" and ask.fit:
            return await _shortened(ask, self._windows.narrowed(name, ask.chars))
        return ask

    async def _continued(self, reply: Reply, ask: Ask, account: Account) -> Reply:
        """Return a reply with the rest that its model's limit cut off."""
        said, card = reply.message.text, reply.card
        if not reply.is_cut or card.max_output_tokens or reply.message.tool_calls:
            return reply
        further = replace(
            ask,
            messages=[*ask.messages, AIMessage(said.rstrip()), HumanMessage(_GO_ON)],
            hidden=True,
            fit=None,
        )
        ends = time.monotonic() + card.timeout_s
        try:
            rest = await self._ask_once(
                reply.backend, card, further, account, min(ends, ask.deadline or ends)
            )
        except ModelError:
            return reply
        if rest.message.tool_calls:
            return reply
        whole = said + _unrepeated(said, rest.message.text)
        return replace(reply, message=reply.message.model_copy(update={"content": whole}), is_cut=rest.is_cut)

    async def _ask_with_retries(
        self, name: str, card: ModelCard, ask: Ask, account: Account, ends: float
    ) -> Reply:
        """Ask as often as the card says, with waits that grow."""
        asked = ask
        for attempt in range(card.max_retries + 1):
            try:
                return await self._ask_once(name, card, asked, account, ends)
            except ModelError as error:
                if isinstance(error.__cause__, BlankReplyError):  # asked the same, many say nothing again
                    asked = replace(ask, messages=replies.reminded(ask.messages))
                wait = error.retry_after
                if wait is None:  # backoff with full jitter
                    wait = random.uniform(0, min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2**attempt))  # noqa: S311 (no secret)
                hopeless = error.cause not in RETRIED or time.monotonic() + wait >= ends
                if hopeless or attempt == card.max_retries:
                    raise
                await asyncio.sleep(wait)
        raise AssertionError

    async def _ask_once(self, name: str, card: ModelCard, ask: Ask, account: Account, ends: float) -> Reply:
        """Ask a model once, within a span."""
        model = card.model or card.provider
        named = {"gen_ai.provider.name": provider(card.provider).telemetry_name or card.provider}
        with Operation("chat", model, {**named, "gen_ai.request.model": model}) as operation:

            async def counted(attempt: Attempt) -> None:
                operation.note(_usage_of(attempt))
                if attempt.error:
                    operation.fail(attempt.error)
                await account(attempt)

            if shows_content():
                operation.note({"gen_ai.input.messages": messages_shown(ask.messages, self._redact)})
            reply = await self._ask_and_account(name, card, ask, counted, ends)
            told = reply.message.response_metadata
            operation.note({"gen_ai.response.model": told.get("model_name") or told.get("model")})
            if shows_content():
                operation.note({"gen_ai.output.messages": messages_shown([reply.message], self._redact)})
            return reply

    async def _ask_and_account(
        self, name: str, card: ModelCard, ask: Ask, account: Account, ends: float
    ) -> Reply:
        """Ask once, and tell the account what it took, however it ends."""
        started = time.monotonic()
        usage: dict[str, Any] | None = None
        tokens = 0
        cause: Cause | None = None
        is_void = False
        try:
            raw = await _until(ends, self._send(name, card, ask))
            counts: dict[str, Any] = dict(raw.usage_metadata or {})
            usage = counts if counts.get("total_tokens") else None  # where none is told, Anthropic's counts 0
            tokens = _tokens_of(raw, ask, usage)
            self._windows.require_whole(name, card, ask.messages, ask.chars, usage)
            offered = ask.tools if card.tools else ()
            message = await _read(raw, offered, ask)
            is_void = message.id != raw.id
            if lacks_begin(raw.text):
                self._begin_within.add(name)
            if message.tool_calls:
                message.additional_kwargs[replies.MODEL] = name
            heard = "" if is_void or ask.hidden else message.text
            return Reply(message, name, card, heard, replies.is_cut_short(message))
        except asyncio.CancelledError:
            cause = "cancelled"
            raise
        except Exception as error:
            sent = [*media_in(ask.messages), *(["tools"] if ask.tools and card.tools else [])]
            fault = as_model_error(error, name, card.base_url, sent=sent, redact=self._redact)
            cause = fault.cause
            _release_stream(error)
            raise fault from error
        finally:
            duration_ms = (time.monotonic() - started) * 1_000
            cost = cost_of(card, usage)
            await account(
                Attempt(name, card, usage, tokens, cost, duration_ms, cause, bool(cause) or is_void)
            )

    async def _send(self, name: str, card: ModelCard, ask: Ask) -> AIMessage:
        """Send a request in the form that its model takes."""
        blocks = [message for message in ask.messages if not isinstance(message.content, str)]
        if address := next(addresses_in([message.content for message in blocks]), None):
            raise ModelError(f"Model {name!r}: {FETCHED.format(address=address)}", "bad_request")
        lacking = media_in(blocks) - provider(card.provider).takes
        if lacking and not ask.described:
            raise unsupported(name, sorted(lacking))
        model = await self._clients.open(name, ask.user)
        told = replies.addressed(ask.messages, name)
        told = in_one_form(without(told, lacking)) if blocks else told
        messages = told if card.tools else replies.in_words(told)
        tags = [HIDDEN] if ask.hidden else []
        asked: Any = model.bind_tools(list(ask.tools)) if ask.tools and card.tools else model.bind()
        # Streamed wherever it can be: what is said is heard as it comes, and cancelling cuts the connection.
        bound = asked.bound if isinstance(asked, RunnableBinding) else None
        if card.streaming and isinstance(bound, BaseChatModel) and streams(bound):
            words = Words(begins_within=card.thinks_first or name in self._begin_within)
            return await stream(bound, messages, asked.kwargs, tags, words, has_blocks=bool(blocks))
        reply = await asked.ainvoke(messages, {"tags": tags})
        if not isinstance(reply, AIMessage):
            raise UnusableReplyError(f"it answered with a {reply.type} message")
        return reply


def _usage_of(attempt: Attempt) -> dict[str, Any]:
    """Return an attempt's usage under the names of OpenTelemetry."""
    usage = attempt.usage or {}
    details = {**usage.get("input_token_details", {}), **usage.get("output_token_details", {})}
    return {
        "gen_ai.usage.input_tokens": usage.get("input_tokens"),
        "gen_ai.usage.output_tokens": usage.get("output_tokens"),
        "gen_ai.usage.cache_read.input_tokens": details.get("cache_read"),
        "gen_ai.usage.reasoning.output_tokens": details.get("reasoning"),
    }


def _unrepeated(said: str, rest: str) -> str:
    """Return a continuation without what it repeats of the end before it."""
    overlaps = (n for n in range(_MOST_REPEATED, _LEAST_REPEATED, -1) if rest.startswith(said[-n:]))
    return rest[next(overlaps, 0) :]


def _is_for_its_words(error: ModelError) -> bool:
    """Tell whether a request was rejected for what it says."""
    told = error.__cause__
    return isinstance(told, ModelInvalidRequestError) or getattr(told, "status_code", 0) in _REJECTED


def addresses_in(content: Any, key: str = "") -> Iterator[str]:
    """Yield each address in a message's blocks that a client might fetch."""
    if isinstance(content, list):
        for each in content:
            yield from addresses_in(each, key)
    elif isinstance(content, dict) and content.get("type") not in _NEVER_FETCHED:
        for name, value in content.items():
            yield from addresses_in(value, str(name))
    elif isinstance(content, str) and _ADDRESS_KEY.search(key) and not content.startswith("data:"):
        yield content[:_SHOWN_CHARS]


async def _read(raw: AIMessage, tools: Sequence[dict[str, Any]], ask: Ask) -> AIMessage:
    """Return a reply as an answer; raises as `replies.answer`."""
    pieces = raw.tool_call_chunks if isinstance(raw, AIMessageChunk) else raw.tool_calls
    chars = replies.chars_of([raw.content, *(piece["args"] for piece in pieces)])
    return await replies.in_thread_if_long(chars, replies.answer, raw, tools, ask.known, ask.taken)


def _release_stream(error: BaseException | None) -> None:
    """End what the error's frames hold of a stream, in order."""
    seen: set[int] = set()
    while error and id(error) not in seen:  # a library may have made the chain a ring
        seen.add(id(error))
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


async def _shortened(ask: Ask, room: int | None) -> Ask:
    """Return the request within so many characters, where that can be."""
    if room is None or ask.fit is None or ask.chars <= room:
        return ask
    return replace(ask, messages=await ask.fit(room), chars=room)


def _tokens_of(reply: AIMessage, ask: Ask, usage: dict[str, Any] | None) -> int:
    if usage:
        return int(usage["total_tokens"])
    chars = sum(len(message.text) for message in (*ask.messages, reply)) + replies.chars_beside(reply)
    return chars // _CHARS_PER_TOKEN


async def _until(ends: float, coroutine: Coroutine[Any, Any, AIMessage]) -> AIMessage:
    """Return what a call gives before `time.monotonic()` is past its end.

    Raises:
        TimeoutError: it gave nothing until then.
    """
    left = max(0.0, ends - time.monotonic())
    return await within(left, coroutine, cancellations=_MOST_CANCELLATIONS, wait_s=_CANCEL_WAIT_S)
