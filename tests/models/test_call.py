"""The caller against the providers' real clients, and every fault that their wires know."""

import asyncio
import gc
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path
from types import AsyncGeneratorType
from typing import Any

import pytest
from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

from base.errors import ModelError, NoModelAnsweredError
from base.settings import load_settings
from models.call import Ask, Attempt, Caller, Reply
from models.providers import anthropic
from models.replies import MALFORMED
from tests.wires import brain
from tests.wires.brain import Kind
from tests.wires.cards import PROVIDERS, Card, at, configure, key_of
from tests.wires.clients import KINDS, OpenWire
from tests.wires.faults import FAULTS, RETRY_AFTER_S, ROWS, SLOW

PARAMETERS = {
    "type": "object",
    "properties": {"times": {"type": "integer"}, "room": {"type": "string"}},
    "required": ["times"],
}
CLOSED_SCHEMA = {"additionalProperties": False}
TOOL = {"type": "function", "function": {"name": "ring_bell", "description": "…", "parameters": PARAMETERS}}
ASK = Ask("chat", [HumanMessage("ring the bell")], "local", tools=[TOOL])
LONG = replace(ASK, messages=[HumanMessage("ring the bell " * 600)])
RUNG = [("ring_bell", {"times": 3, "room": "hall"})]
TWICE = [*RUNG, ("ring_bell", {"times": 1, "room": "hall"})]
EMPTY = [("ring_bell", {})]
NOT_RUN = "answered, not run"
CLOSED = "http://127.0.0.1:9/v1"

EXPECTED: Mapping[Any, Any] = {
    "truncated_arguments": NOT_RUN,
    "double_encoded_arguments": RUNG,
    "null_arguments": EMPTY,
    "null_text_arguments": EMPTY,
    "empty_arguments": EMPTY,
    "object_arguments": RUNG,
    "string_arguments": NOT_RUN,
    "empty_call_id": RUNG,
    "repeated_call_id": TWICE,
    "repeated_name": RUNG,
    "undeclared_tool": [("launch_rocket", {"target": "moon"})],
    "wrong_case_name": [("RingBell", {"times": 3, "room": "hall"})],  # the registry knows what is meant
    "call_as_text": RUNG,
    "call_as_json_block": RUNG,
    "call_as_function_tag": RUNG,
    "call_as_text_cut_short": "malformed",
    "stop_beside_calls": RUNG,
    "usage_missing": "Hello there.",
    "empty_answer": "malformed",
    "max_tokens": "malformed",
    "cut_answer": "So it is until ",
    "thoughts_alone": "malformed",
    "safety": "refusal",
    "safety_within_an_answer": "refusal",
    "refusal_field": "refusal",
    "content_filter_with_200": "refusal",
    "finish_error": "overload",
    "failed_call": "malformed",
    "error_of_another_provider": "bad_request",
    "error_in_detail": "bad_request",
    "no_credit": "no_credit",
    "malformed_function_call": "malformed",
    "no_candidates": "malformed",
    "blocked_prompt": "refusal",
    "null_choices": "malformed",
    "garbage_body": "malformed",
    "error_with_200": "overload",
    "error_mid_stream": "overload",
    "ignored_streaming": "malformed",
    ("ignored_streaming", "gemini", True): "Hello there.",
    "cut_connection": "connection",
    "rate_limited": "rate_limit",
    "server_error": "overload",
    "overloaded": "overload",
    "bad_key": "bad_key",
    "unauthenticated": "bad_key",
    "unknown_model": "bad_request",
    "context_overflow": "context_overflow",
    "cut_prompt": "context_overflow",
    "context_overflow_at_llamacpp": "context_overflow",
}
"""A fault, or a fault in some rows, to the cause, the text or the runnable calls that come of it."""


class Phone:
    """A caller, and what it was told of its attempts."""

    def __init__(self, caller: Caller) -> None:
        self.caller = caller
        self.attempts: list[Attempt] = []

    async def call(self, ask: Ask = ASK) -> Reply:
        await self.caller.warm(ask.role, ask.user)  # to import a provider's package may take seconds
        async with asyncio.timeout(5):
            return await self.caller.call(ask, self._account)

    async def _account(self, attempt: Attempt) -> None:
        self.attempts.append(attempt)


Connect = Callable[..., Phone]


@pytest.fixture
async def connect(tmp_path: Path) -> AsyncIterator[Connect]:
    """Give a function that gives the role `chat` these models, the first one first."""
    phones: list[Phone] = []

    def opened(more: str = "", **cards: Card) -> Phone:
        phones.append(Phone(Caller(load_settings(configure(tmp_path, cards, {"chat": list(cards)}, more)))))
        return phones[-1]

    yield opened
    for phone in phones:
        await phone.caller.close()


@pytest.fixture
def at_once(monkeypatch) -> None:
    """Make every backoff of ours end at once."""
    monkeypatch.setattr("models.call.random.uniform", lambda least, most: 0.0)


async def _outcome(phone: Phone) -> Any:
    try:
        message = (await phone.call(LONG)).message
    except ModelError as error:
        return error.cause
    marked = message.additional_kwargs.get(MALFORMED, {})
    ids = [call["id"] for call in message.tool_calls]
    assert all(ids), "every call has an id"
    assert len(set(ids)) == len(ids), "of its own"
    if marked:
        assert set(marked) == set(ids)
        assert [call["args"] for call in message.tool_calls] == [{}]
        return NOT_RUN
    return [(call["name"], call["args"]) for call in message.tool_calls] or message.text


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("kind", KINDS)
async def test_every_fault_becomes_a_usable_reply_or_a_typed_error(
    open_wire: OpenWire, connect: Connect, kind: Kind, stream
):
    wire = open_wire(kind)
    phone = connect(model=at(wire, streaming=stream))
    faults = [name for name, on, streamed in ROWS if (on, streamed) == (kind, stream)]
    outcomes = {}
    for name in faults:
        wire.brain = lambda heard, name=name: FAULTS[name](kind, stream)
        outcomes[name] = await _outcome(phone)
    assert outcomes == {name: _expected(name, kind, stream) for name in faults}
    assert len(phone.attempts) == len(faults) + 1, "each was tried, and told of, once; and one went on"
    assert wire.rejected == []


def _suspended() -> list[Any]:
    """Return the asynchronous generators that began and did not end."""
    found = [each for each in gc.get_objects() if isinstance(each, AsyncGeneratorType)]
    return [each for each in found if each.ag_frame is not None and each.ag_frame.f_lasti > 0]


def _left(before: Sequence[Any]) -> int:
    """Return how many are suspended that were not before; none is held by counting."""
    return sum(not any(each is other for other in before) for each in _suspended())


@pytest.mark.parametrize("kind", ["openai", "anthropic"])  # Google's client ties its response to itself
async def test_no_stream_that_failed_is_left_to_the_garbage_collector(
    open_wire: OpenWire, connect: Connect, kind: Kind
):
    wire = open_wire(kind, brain=lambda heard: FAULTS["error_mid_stream"](kind, True))
    phone = connect(model=at(wire))
    await phone.caller.warm("chat", "local")
    before = _suspended()
    gc.disable()
    try:
        with suppress(NoModelAnsweredError):
            await phone.call()
        for turn in range(200):
            if turn > 100 and not _left(before):
                break
            await asyncio.sleep(0 if turn < 100 else 0.01)  # on a busy machine
        assert _left(before) == 0
    finally:
        gc.enable()


def _expected(name: str, kind: Kind, stream: bool) -> Any:
    keys = ((name, kind, stream), (name, stream), name)
    return next(EXPECTED[key] for key in keys if key in EXPECTED)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_rate_limit_is_waited_out_for_as_long_as_the_server_asks(
    open_wire: OpenWire, connect: Connect, at_once, kind: Kind
):
    came: list[float] = []

    def busy_once(heard: brain.Heard) -> brain.Reply:
        came.append(time.monotonic())
        return brain.Reply(text="Noon.") if len(came) > 1 else _busy(kind, "0.3")

    phone = connect(model=at(open_wire(kind, brain=busy_once), max_retries=1))
    assert (await phone.call()).message.text == "Noon."
    assert came[1] - came[0] >= 0.3
    assert [attempt.error for attempt in phone.attempts] == ["rate_limit", None]


def _busy(kind: Kind, seconds: str) -> brain.Reply:
    reply = FAULTS["rate_limited"](kind, True)
    if kind != "gemini":
        return replace(reply, headers={"retry-after": seconds})
    body = json.dumps(reply.error).replace(f'"{RETRY_AFTER_S}s"', f'"{seconds}s"')
    return replace(reply, error=json.loads(body))


async def test_a_date_to_wait_for_is_understood_too(open_wire: OpenWire, connect: Connect, at_once):
    def busy(heard: brain.Heard) -> brain.Reply:
        return _busy("openai", formatdate(time.time() + 60, usegmt=True))

    wire = open_wire("openai", brain=busy)
    with pytest.raises(NoModelAnsweredError):
        await connect(model=at(wire, max_retries=5, timeout_s=30)).call()
    assert len(wire.heard) == 1, "a minute is beyond the deadline"


@pytest.mark.parametrize("kind", KINDS)
async def test_a_delay_that_would_outlast_the_deadline_is_not_waited_for(
    open_wire: OpenWire, connect: Connect, kind: Kind
):
    wire = open_wire(kind, brain=lambda heard: FAULTS["rate_limited"](kind, True))
    phone = connect(model=at(wire, max_retries=5, timeout_s=6.5))
    started = time.monotonic()
    with pytest.raises(NoModelAnsweredError) as caught:
        await phone.call()
    assert caught.value.cause == "rate_limit"
    assert time.monotonic() - started < 6
    assert len(wire.heard) == 1


@pytest.mark.parametrize("fault", SLOW)
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("kind", KINDS)
async def test_a_model_that_is_silent_or_trickles_on_is_left_at_its_deadline(
    open_wire: OpenWire, connect: Connect, kind: Kind, stream, fault
):
    wire = open_wire(kind, brain=lambda heard: SLOW[fault](kind, stream))
    prompt = open_wire("openai", brain=lambda heard: brain.Reply(text="Noon."))
    card = at(wire, max_retries=3, timeout_s=0.5, streaming=stream)
    phone = connect(slow=card, prompt=at(prompt))
    await phone.caller.warm("chat", "local")
    started = time.monotonic()
    reply = await phone.call()
    assert (reply.backend, reply.message.text) == ("prompt", "Noon.")
    assert time.monotonic() - started < 6, "and not the eight seconds that it would take"
    assert [attempt.error for attempt in phone.attempts] == ["timeout", None]


async def test_a_call_that_is_cancelled_ends_as_one(open_wire: OpenWire, connect: Connect):
    loop, is_heard = asyncio.get_running_loop(), asyncio.Event()

    def silent(heard: brain.Heard) -> brain.Reply:
        loop.call_soon_threadsafe(is_heard.set)
        return SLOW["silence"]("openai", True)

    phone = connect(model=at(open_wire("openai", brain=silent), max_retries=3))
    calling = asyncio.create_task(phone.call())
    await is_heard.wait()
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    assert [attempt.error for attempt in phone.attempts] == ["cancelled"]


class Deaf(FakeListChatModel):
    """Swallows every cancellation, as a client with a bare `except` does, until it is let go."""

    let_go: asyncio.Event

    async def _agenerate(self, *args: Any, **kwargs: Any) -> Any:
        while not self.let_go.is_set():
            with suppress(asyncio.CancelledError):
                await self.let_go.wait()
        return await super()._agenerate(*args, **kwargs)


async def test_the_deadline_holds_for_the_person_though_a_client_swallows_every_cancellation(
    open_wire: OpenWire, connect: Connect, monkeypatch, caplog
):
    let_go = asyncio.Event()
    deaf = Deaf(responses=["Too late."], let_go=let_go)
    stand_in = replace(anthropic.PROVIDER, open=lambda card, key: deaf)
    monkeypatch.setattr(anthropic, "PROVIDER", stand_in)
    prompt = open_wire("openai", brain=lambda heard: brain.Reply(text="Noon."))
    cards = {"deaf": at(open_wire("anthropic"), timeout_s=0.2, streaming=False), "prompt": at(prompt)}
    phone = connect(**cards)
    reply = await phone.call(replace(ASK, tools=()))
    assert (reply.backend, reply.message.text) == ("prompt", "Noon.")
    assert [attempt.error for attempt in phone.attempts] == ["timeout", None]
    assert "left to itself" in caplog.text
    others = asyncio.all_tasks() - {asyncio.current_task()}
    assert others, "it goes on, and nobody waits for it"
    let_go.set()
    await asyncio.wait(others)


class Ringed(FakeListChatModel):
    """Raises an error whose chain of causes leads back to it."""

    async def _agenerate(self, *args: Any, **kwargs: Any) -> Any:
        first, second = ValueError("one"), ValueError("other")
        second.__cause__ = first
        raise first from second


async def test_an_error_whose_causes_are_a_ring_is_told_as_any_other(
    open_wire: OpenWire, connect: Connect, monkeypatch
):
    ringed = replace(anthropic.PROVIDER, open=lambda card, key: Ringed(responses=[]))
    monkeypatch.setattr(anthropic, "PROVIDER", ringed)
    well = open_wire("openai", brain=lambda heard: brain.Reply(text="Noon."))
    phone = connect(ringed=at(open_wire("anthropic"), max_retries=0, streaming=False), well=at(well))
    reply = await phone.call(replace(ASK, tools=()))
    assert (reply.backend, reply.message.text) == ("well", "Noon.")


@pytest.mark.parametrize(
    ("fault", "tries"),
    [
        ("server_error", 3),
        ("overloaded", 3),
        ("cut_connection", 3),
        ("empty_answer", 3),
        ("bad_key", 1),
        ("unknown_model", 1),
        ("context_overflow", 1),
        ("safety", 1),
        ("no_credit", 1),
        ("failed_call", 3),
    ],
)
async def test_only_what_another_try_may_cure_is_tried_again(
    open_wire: OpenWire, connect: Connect, at_once, fault, tries
):
    wire = open_wire("openai", brain=lambda heard: FAULTS[fault]("openai", True))
    phone = connect(model=at(wire, max_retries=2))
    with pytest.raises(NoModelAnsweredError):
        await phone.call()
    assert len(wire.heard) == len(phone.attempts) == tries


async def test_the_wait_before_another_try_is_any_up_to_one_that_doubles(
    open_wire: OpenWire, connect: Connect, monkeypatch
):
    waits: list[tuple[float, float]] = []

    def drawn(least: float, most: float) -> float:
        waits.append((least, most))
        return 0.0

    monkeypatch.setattr("models.call.random.uniform", drawn)
    wire = open_wire("openai", brain=lambda heard: FAULTS["server_error"]("openai", True))
    phone = connect(model=at(wire, max_retries=6))
    with pytest.raises(NoModelAnsweredError):
        await phone.call()
    assert waits == [(0, most) for most in (0.5, 1, 2, 4, 8, 16, 20)]
    assert {attempt.tokens for attempt in phone.attempts} == {0}


async def test_no_further_try_begins_after_the_deadline_of_the_turn(open_wire: OpenWire, connect: Connect):
    wire = open_wire("openai", brain=lambda heard: _busy("openai", "2"))
    phone = connect(model=at(wire, max_retries=5, timeout_s=60))
    with pytest.raises(NoModelAnsweredError):
        await phone.call(replace(ASK, deadline=time.monotonic() + 1.5))
    assert len(wire.heard) == 1


async def test_fallbacks_are_tried_in_order_and_the_error_says_how_each_failed(
    open_wire: OpenWire, connect: Connect
):
    broken = open_wire("gemini", brain=lambda heard: FAULTS["bad_key"]("gemini", True))
    phone = connect(
        keyless=at(open_wire("anthropic"), api_key_env="NO_SUCH_KEY"),
        first=at(broken),
        second=at(open_wire("openai"), base_url=CLOSED),
    )
    with pytest.raises(NoModelAnsweredError) as caught:
        await phone.call()
    told = str(caught.value)
    places = [told.index(f"Model {name!r}") for name in ("keyless", "first", "second")]
    assert places == sorted(places)
    assert "NO_SUCH_KEY is not set" in told
    assert "it rejected the key" in told
    assert "it cannot be reached" in told
    assert [(a.backend, a.error) for a in phone.attempts] == [("first", "bad_key"), ("second", "connection")]


@pytest.mark.parametrize("kind", KINDS)
async def test_an_endpoint_that_nobody_serves_is_a_connection_failure(
    open_wire: OpenWire, connect: Connect, kind: Kind
):
    phone = connect(model=at(open_wire(kind), base_url=CLOSED))
    with pytest.raises(NoModelAnsweredError) as caught:
        await phone.call()
    assert caught.value.cause == "connection"
    assert "Check its base_url" in str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
async def test_of_a_public_provider_that_cannot_be_reached_the_network_is_named_and_no_base_url(
    open_wire: OpenWire, connect: Connect, monkeypatch, kind: Kind
):
    card = at(open_wire(kind), base_url=None)
    monkeypatch.setattr(f"models.providers.{PROVIDERS[kind][0]}.ADDRESS", CLOSED)
    with pytest.raises(NoModelAnsweredError) as caught:
        await connect(model=card).call()
    assert caught.value.cause == "connection"
    assert "Check the network" in str(caught.value)
    assert "base_url" not in str(caught.value)


async def test_a_key_that_a_provider_repeats_is_not_in_the_error(open_wire: OpenWire, connect: Connect):
    told = brain.Reply(status=401, error=f"Incorrect API key provided: {key_of('model')}.")
    phone = connect(model=at(open_wire("openai", brain=lambda heard: told)))
    with pytest.raises(NoModelAnsweredError) as caught:
        await phone.call()
    assert "[redacted]" in str(caught.value)
    assert key_of("model") not in str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
async def test_counts_that_a_provider_does_not_give_are_unknown(
    open_wire: OpenWire, connect: Connect, kind: Kind
):
    phone = connect(model=at(open_wire(kind, brain=lambda heard: FAULTS["usage_missing"](kind, True))))
    await phone.call()
    assert [(attempt.usage, attempt.cost_usd) for attempt in phone.attempts] == [(None, None)]


async def test_counts_and_the_cards_own_price_make_the_cost(open_wire: OpenWire, connect: Connect):
    reply = brain.Reply(text="Noon.", input_tokens=1000, cached_tokens=400, output_tokens=100)
    price = "[models.model.price]\ninput = 1.0\noutput = 10.0\ncached = 0.1"
    phone = connect(model=at(open_wire("openai", brain=lambda heard: reply)), more=price)
    await phone.call()
    assert phone.attempts[0].cost_usd == pytest.approx((600 * 1.0 + 400 * 0.1 + 100 * 10.0) / 1_000_000)


async def test_a_model_without_tools_is_offered_none(open_wire: OpenWire, connect: Connect):
    wire = open_wire("openai")
    await connect(model=at(wire, tools=False)).call()
    assert wire.heard[0].tools == {}


async def test_open_webui_is_found_under_api_and_an_endpoint_without_a_key_gets_a_made_up_one(
    open_wire: OpenWire, connect: Connect
):
    wire = open_wire("openai", key="not-needed")
    phone = connect(model=at(wire, base_url=wire.root, host="openwebui", api_key_env=None))
    await phone.call()
    assert wire.rejected == []
    assert len(wire.heard) == 1


async def test_no_message_is_sent_without_text_or_with_a_list_for_some_servers_answer_500(
    open_wire: OpenWire, connect: Connect
):
    wire = open_wire("openai")
    call = {"name": "ring_bell", "args": {}, "id": "a"}
    said = [*ASK.messages, AIMessage("", tool_calls=[call]), ToolMessage("Rung.", tool_call_id="a")]
    await connect(model=at(wire)).call(replace(ASK, messages=said))
    assert [m["content"] for m in wire.heard[0].raw["messages"]] == ["ring the bell", "", "Rung."]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_call_that_succeeds_logs_no_warning(
    open_wire: OpenWire, connect: Connect, caplog, kind: Kind
):
    strict = {**TOOL, "function": {**TOOL["function"], "parameters": {**PARAMETERS, **CLOSED_SCHEMA}}}
    reply = brain.Reply(calls=(brain.Call(*RUNG[0]),))
    await connect(model=at(open_wire(kind, brain=lambda heard: reply))).call(replace(ASK, tools=[strict]))
    assert caplog.records == []
