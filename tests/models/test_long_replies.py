"""A long reply takes a time that grows with it, holds nobody else up, and has an end."""

import gzip
import json
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from functools import partial
from itertools import repeat
from types import ModuleType
from typing import Any

import pytest
from langchain_core.callbacks import AsyncCallbackHandler
from langchain_core.language_models import BaseChatModel, FakeListChatModel
from langchain_core.messages import AIMessageChunk, HumanMessage
from langchain_core.messages.ai import add_ai_message_chunks
from langchain_core.outputs import ChatGenerationChunk
from langchain_core.runnables import RunnableLambda

from base.errors import NoModelAnsweredError
from base.settings import load_settings
from models.call import Ask, Attempt, Caller
from models.providers import MODULES, Provider
from models.replies import MALFORMED, MOST_CALLS, MOST_CHARS
from models.reply_bodies import MOST_BYTES
from tests.wires.brain import Call, Kind, Raw, Reply
from tests.wires.cards import at, configure
from tests.wires.clients import KINDS, OpenWire
from tests.wires.values import WAYS, reply_with, row

PARAMETERS = {"type": "object", "properties": {"text": {"type": "string"}}}
TOOL = {"type": "function", "function": {"name": "note", "description": "…", "parameters": PARAMETERS}}
ASK = Ask("chat", [HumanMessage("note it")], "local", tools=[TOOL])
ROWS = [
    (kind, stream, whole)
    for kind in KINDS
    for stream in (True, False)
    for whole in (True, False)
    if kind != "gemini" or whole  # its arguments come as an object
]


async def _nobody(_: Attempt) -> None:
    pass


@pytest.fixture
async def open_caller(open_wire: OpenWire, tmp_path) -> AsyncIterator[Callable[..., Caller]]:
    """Give a function that gives a caller of one model that always says the same."""
    opened: list[Caller] = []

    def caller(kind: Kind, reply: Reply, **fields: Any) -> Caller:
        wire = open_wire(kind, brain=lambda heard: reply)
        model = at(wire, **fields)
        opened.append(Caller(load_settings(configure(tmp_path, {"model": model}, {"chat": ["model"]}))))
        return opened[-1]

    yield caller
    for each in opened:
        await each.close()


def _noting(chars: int, *, is_whole: bool, pieces: int) -> Reply:
    text = json.dumps({"text": "a" * chars})
    args: Any = json.loads(text) if is_whole else Raw(f'{text[:-1]} "')
    return Reply(calls=(Call("note", args),), pieces=pieces)


async def _steps(caller: Caller, ask: Ask = ASK) -> int:
    """Return how many functions this thread calls until the reply is there: a measure that no clock is."""
    await caller.warm(ask.role, ask.user)
    await caller.call(ask, _nobody)  # what is done once is done
    count = 0

    def called(frame: Any, event: str, arg: Any) -> None:
        nonlocal count
        count += event in {"call", "c_call"}

    sys.setprofile(called)
    try:
        await caller.call(ask, _nobody)
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize(("kind", "stream", "whole"), ROWS)
@pytest.mark.slow
async def test_what_a_call_takes_grows_with_its_arguments_and_not_with_their_square(
    open_caller, kind: Kind, stream, whole
):
    noting = partial(_noting, is_whole=whole)
    short, long = [
        await _steps(open_caller(kind, noting(chars, pieces=chars // 8), streaming=stream, timeout_s=60))
        for chars in (800, 8_000)
    ]
    assert long < 11 * short
    at_once = await _steps(open_caller(kind, noting(20_000, pieces=1), streaming=stream))
    assert at_once < 20_000, "no step for each character"


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
async def test_what_a_text_takes_grows_with_it(open_caller, kind: Kind):
    short, long = [await _steps(open_caller(kind, Reply("so it is " * n), timeout_s=60)) for n in (20, 200)]
    assert long < 11 * short


@pytest.mark.parametrize("unit", ["[]", "0", '{"a": [1]}'])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
async def test_a_reply_of_more_values_than_any_answer_has_is_left_unread(open_caller, kind: Kind, way, unit):
    reply = reply_with(kind, row(unit, 200_000), way)
    caller = open_caller(kind, reply, streaming=way == "stream")
    with pytest.raises(NoModelAnsweredError, match=r"holds more than [\d,]+ values beside its text"):
        await caller.call(ASK, _nobody)
    few = reply_with(kind, row(unit, 2_000), way)
    answered = open_caller(kind, few, streaming=way == "stream").call(ASK, _nobody)
    if way == "error":
        with pytest.raises(NoModelAnsweredError, match="it rejected the request"):
            await answered
    else:
        assert (await answered).message.text == "Done."


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("kind", KINDS)
async def test_a_text_that_looks_like_values_is_read_whatever_its_size(open_caller, kind: Kind, stream):
    code = 'f([1,{"a":[]}],\\"\\\\",[[]]);\u00e9' * 30_000 + "\u2028[,"
    caller = open_caller(kind, Reply(code), streaming=stream, timeout_s=60)
    assert (await caller.call(ASK, _nobody)).message.text == code


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("kind", KINDS)
async def test_calls_with_large_and_deep_arguments_are_read(open_caller, kind: Kind, stream):
    text = [{"text": [["a", {"b": [number, "[,{"]}]] * 5} for number in range(MOST_CALLS)]
    calls = tuple(Call("note", args, f"call_{number}") for number, args in enumerate(text))
    caller = open_caller(kind, Reply("Noted. " * 500, calls), streaming=stream, timeout_s=60)
    assert [call["args"] for call in (await caller.call(ASK, _nobody)).message.tool_calls] == text


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("kind", KINDS)
async def test_of_more_values_than_arguments_may_hold_the_model_is_told(open_caller, kind: Kind, stream):
    calls = [Call("note", {"text": [[]] * 900}, f"call_{number}") for number in range(4)]
    caller = open_caller(kind, Reply(calls=tuple(calls)), streaming=stream)
    reply = await caller.call(ASK, _nobody)
    assert [call["args"] for call in reply.message.tool_calls] == [calls[0].args, calls[1].args, {}, {}]
    malformed = reply.message.additional_kwargs[MALFORMED]
    assert list(malformed) == [call["id"] for call in reply.message.tool_calls[2:]]
    assert all("hold more than 5,000 values" in why for why in malformed.values())


@pytest.mark.parametrize("twice", [True, False])
@pytest.mark.parametrize("stream", [True, False])
async def test_a_call_of_too_many_values_is_read_by_nobody(open_caller, stream, twice, monkeypatch):
    args = json.dumps({"text": [[]] * 100_000})
    call = Call("note", Raw(json.dumps(args) if twice else args))
    caller = open_caller("openai", Reply(calls=(call,)), streaming=stream)
    await caller.warm(ASK.role, ASK.user)
    read, loads = [], json.loads

    def noting(text: Any, **options: Any) -> Any:
        read.append(loads(text, **options))
        return read[-1]

    monkeypatch.setattr("models.replies.json.loads", noting)
    reply = await caller.call(ASK, _nobody)
    assert [call["args"] for call in reply.message.tool_calls] == [{}]
    assert not any("text" in value for value in read if isinstance(value, dict))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
async def test_what_a_reply_could_be_unpacked_to_is_nothing_to_wait_for(open_caller, kind: Kind, way):
    reply = replace(reply_with(kind, "[]", way), headers={"content-encoding": "zstd"})
    caller = open_caller(kind, reply, streaming=way == "stream")
    with pytest.raises(NoModelAnsweredError, match="it packs its replies although it was asked not to"):
        await caller.call(ASK, _nobody)


@pytest.mark.parametrize("way", ["whole", "stream"])
@pytest.mark.parametrize("kind", KINDS)
async def test_what_a_reply_is_unpacked_to_is_bounded(open_caller, kind: Kind, way):
    bomb = gzip.compress(b'{"a": "' + b"a" * (3 * MOST_BYTES))
    assert len(bomb) < MOST_BYTES / 10
    reply = Reply(raw=bomb, headers={"content-encoding": "gzip"})
    caller = open_caller(kind, reply, streaming=way == "stream", timeout_s=60)
    with pytest.raises(NoModelAnsweredError, match="its reply is longer than 5,000,000 bytes"):
        await caller.call(ASK, _nobody)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
async def test_a_body_of_any_size_is_left_unread(open_caller, kind: Kind, way):
    reply = reply_with(kind, f'"{"a" * MOST_BYTES}"', way)
    caller = open_caller(kind, reply, streaming=way == "stream", timeout_s=60)
    with pytest.raises(NoModelAnsweredError, match="its reply is longer than 5,000,000 bytes"):
        await caller.call(ASK, _nobody)


class _Listener(AsyncCallbackHandler):
    """Hears what a model says, as a client of LangGraph's `messages` stream does."""

    def __init__(self) -> None:
        self.heard: list[AIMessageChunk] = []

    async def on_llm_new_token(self, token: str, *, chunk: Any = None, **_: Any) -> None:
        self.heard.append(chunk.message)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_listener_hears_words_as_they_come_and_calls_once_and_whole(open_caller, kind: Kind):
    calls = (Call("note", {"text": "a" * 500}), Call("note", {"text": "b"}))
    caller = open_caller(kind, Reply("I note it down.", calls, pieces=60))
    listener = _Listener()
    ask = RunnableLambda(partial(caller.call, account=_nobody))
    reply = await ask.ainvoke(ASK, {"callbacks": [listener]})
    assert [piece.text for piece in listener.heard if piece.text] == ["I ", "note ", "it ", "down."]
    assert [len(piece.tool_call_chunks) for piece in listener.heard if piece.tool_call_chunks] == [2]
    joined = add_ai_message_chunks(*listener.heard)
    assert joined.tool_calls == reply.message.tool_calls
    assert (joined.text, joined.id) == (reply.message.text, reply.message.id)


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
async def test_a_listener_hears_no_arguments_that_are_not_whole(open_caller, kind: Kind):
    caller = open_caller(kind, _noting(5_000, is_whole=False, pieces=9))
    listener = _Listener()
    reply = await RunnableLambda(partial(caller.call, account=_nobody)).ainvoke(
        ASK, {"callbacks": [listener]}
    )
    assert len(str(listener.heard)) < 5_000
    assert add_ai_message_chunks(*listener.heard).tool_calls == reply.message.tool_calls
    assert "not valid JSON" in next(iter(reply.message.additional_kwargs[MALFORMED].values()))


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("kind", KINDS)
async def test_a_reply_longer_than_any_is_left_unread_and_said_to_be(open_caller, kind: Kind, stream):
    caller = open_caller(kind, _noting(MOST_CHARS, is_whole=True, pieces=5), streaming=stream)
    with pytest.raises(NoModelAnsweredError, match=r"its reply is longer than 1,000,000 characters"):
        await caller.call(ASK, _nobody)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("kind", KINDS)
async def test_a_reply_makes_so_many_calls_and_not_one_more(open_caller, kind: Kind, stream):
    calls = [Call("note", {}, f"call_{number}") for number in range(MOST_CALLS + 1)]
    caller = open_caller(kind, Reply(calls=tuple(calls[1:])), streaming=stream)
    assert len((await caller.call(ASK, _nobody)).message.tool_calls) == MOST_CALLS
    caller = open_caller(kind, Reply(calls=tuple(calls)), streaming=stream)
    with pytest.raises(NoModelAnsweredError, match="it made more than 100 calls at once, and none was run"):
        await caller.call(ASK, _nobody)


class _Endless(FakeListChatModel):
    """Has always one more piece at hand, and none that says anything."""

    async def _astream(self, *_: Any, **__: Any) -> AsyncIterator[ChatGenerationChunk]:
        for _piece in repeat(None):
            yield ChatGenerationChunk(message=AIMessageChunk(""))


async def test_a_stream_that_never_pauses_holds_nobody_up_and_ends_at_its_time(tmp_path, monkeypatch):
    module: Any = ModuleType("tests.endless")

    def opened(*_: Any) -> BaseChatModel:
        return _Endless(responses=[])

    module.PROVIDER = Provider(open=opened, needs_key=False, needs_model=False)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(MODULES, "endless", module.__name__)
    card = '[models.model]\nprovider = "endless"\ntimeout_s = 0.3\nmax_retries = 0'
    caller = Caller(load_settings(configure(tmp_path, {}, {"chat": ["model"]}, card)))
    with pytest.raises(NoModelAnsweredError, match="did not answer in time"):
        await caller.call(Ask("chat", ASK.messages, "local"), _nobody)
