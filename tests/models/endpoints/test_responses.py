"""Answers in another form than was asked for, with more between and counts that are none; redirects."""

import gzip
import json
from collections.abc import Mapping
from typing import Any

import pytest

from tests.models import makers
from tests.wires.brain import Heard, Kind, Reply
from tests.wires.cards import at
from tests.wires.clients import KINDS, OpenWire
from tests.wires.serve import DIALECTS

SAID = "It is noon.\u2028So it is."
SSE, PAGE, TEXT = ({"content-type": kind} for kind in ("text/event-stream", "text/html", "text/plain"))
STREAMS = pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])


def _asked(kind: Kind, *, stream: bool) -> Heard:
    raw = {"stream_options": {"include_usage": True}}
    return Heard(wire=kind, model="stand-in", system="", turns=(), tools={}, stream=stream, raw=raw)


def _whole(kind: Kind) -> bytes:
    said = DIALECTS[kind].whole(_asked(kind, stream=False), Reply(SAID))
    return json.dumps(said, ensure_ascii=False).encode()


def _events(kind: Kind) -> list[str]:
    return list(DIALECTS[kind].events(_asked(kind, stream=True), Reply(SAID)))


def _stream(kind: Kind, end: str = "\n\n", *, named: bool = True) -> bytes:
    lines = [line for event in _events(kind) for line in event.split("\n") if named or line[:1] == "d"]
    told = end.join(_events(kind)) if named else end.join(lines)
    return f"{told}{end}".replace(r"\u2028", "\u2028").encode()


def _forms(kind: Kind) -> Mapping[str, Reply]:
    """Return a whole answer, and a stream in forms that servers give it."""
    lines = b"\n".join(line[6:] for line in _stream(kind).split(b"\n") if line.startswith(b"data: {"))
    return {
        "whole": Reply(raw=_whole(kind)),
        "whole, behind a mark of its order": Reply(raw=b"\xef\xbb\xbf" + _whole(kind)),
        "whole, as a text": Reply(raw=_whole(kind), headers=TEXT),
        "whole, as PHP's pages": Reply(raw=_whole(kind), headers=PAGE),
        "whole, over lines": Reply(raw=json.dumps(json.loads(_whole(kind)), indent=2).encode()),
        "whole, packed": Reply(raw=gzip.compress(_whole(kind)), headers={"content-encoding": "gzip"}),
        "as a list": Reply(raw=b"[" + lines.replace(b"\n", b",") + b"]"),
        "as JSON in lines": Reply(raw=lines, headers={"content-type": "application/x-ndjson"}),
        "called JSON": Reply(raw=_stream(kind)),
        "called a page": Reply(raw=_stream(kind), headers=PAGE),
        "packed": Reply(raw=gzip.compress(_stream(kind)), headers={**SSE, "content-encoding": "gzip"}),
        "in lines of Windows": Reply(raw=_stream(kind).replace(b"\n", b"\r\n"), headers=SSE),
        "without blank lines": Reply(raw=_stream(kind, "\n"), headers=SSE),
        "without names": Reply(raw=_stream(kind, named=False), headers=SSE),
        "without spaces": Reply(raw=_stream(kind).replace(b"data: ", b"data:"), headers=SSE),
    }


BETWEEN: Mapping[Kind, tuple[str, ...]] = {
    "openai": (
        ": OPENROUTER PROCESSING",
        "event: ping\ndata: {}",
        'data: {"code": 0, "message": "ok"}',
        'data: {"detail": "queued", "status": "queued"}',  # Open WebUI's kind of error, which is none
        'data: {"event": {"type": "status", "data": {"description": "Searching the web"}}}',
        'data: {"choices": [], "prompt_filter_results": []}',  # Azure
        'data: {"choices": [null]}',
        "data: null",
        'data: "still there"',
        "data: [1]",
        "data:",
    ),
    "anthropic": (
        ": keep-alive",
        'event: ping\ndata: {"type": "ping"}',
        'event: status\ndata: {"type": "status"}',
        'data: {"status": "processing"}',
        "data: 5",
    ),
    "gemini": (": keep-alive", "event: ping\ndata: {}", 'data: {"status": "processing"}', "data: null"),
}
"""What comes between the pieces of a stream, and is none."""


@pytest.fixture
def told(open_wire: OpenWire, furnish):
    """Return a function that gives what the person reads of each reply, and what was counted."""

    async def tell(
        kind: Kind, replies: Mapping[str, Reply], *, stream: bool = True
    ) -> dict[str, tuple[str, Any, Any]]:
        wire, found = open_wire(kind), {}
        house = furnish({"planner": at(wire, streaming=stream)})
        async with house.open() as orchestrator:
            for name, reply in replies.items():
                wire.brain = lambda heard, reply=reply: reply
                result = await orchestrator.ask("Hello", context=house.context(path="direct"))
                usage = result.usage
                found[name] = (result.response, usage.get("input_tokens"), usage.get("output_tokens"))
        return found

    return tell


@pytest.mark.parametrize("kind", KINDS)
async def test_whatever_form_a_streams_answer_comes_in_it_is_read(told, kind: Kind):
    forms = _forms(kind)
    assert await told(kind, forms) == dict.fromkeys(forms, (SAID, 100, 20))


@pytest.mark.parametrize("kind", KINDS)
async def test_a_whole_answer_is_read_whatever_it_is_called_and_a_stream_is_told(told, kind: Kind):
    forms = {name: reply for name, reply in _forms(kind).items() if name.startswith("whole")}
    read = await told(kind, {**forms, "a stream": Reply(raw=_stream(kind), headers=SSE)}, stream=False)
    said, *_ = read.pop("a stream")
    assert "it streams its answer, though a whole one was asked for; set streaming = true" in said
    assert read == dict.fromkeys(forms, (SAID, 100, 20))


@pytest.mark.parametrize("kind", KINDS)
async def test_what_comes_between_the_pieces_of_a_stream_ends_no_turn(told, kind: Kind):
    first, *others = _events(kind)
    replies = {each: Reply(raw=(each, first, each, *others)) for each in BETWEEN[kind]}
    assert await told(kind, replies) == dict.fromkeys(replies, (SAID, 100, 20))


async def test_words_between_are_an_error_where_the_answer_does_not_end(told):
    begun = _events("openai")[:3]
    failed = 'data: {"detail": "Lost upstream"}'
    said, *_ = (await told("openai", {"": Reply(raw=(*begun, failed))}))[""]
    assert "the provider is overloaded or failed (Lost upstream)" in said


COUNTS: tuple[Any, ...] = ("many", "12 tokens", -5, 1.5, [1], {"a": 1}, True, 10**30, None)
NAMES = {
    "gemini": {"promptTokenCount", "candidatesTokenCount", "totalTokenCount"},
    "openai": {"prompt_tokens", "completion_tokens", "total_tokens"},
    "anthropic": {"input_tokens", "output_tokens"},
}


def _with_count(told: Any, names: set[str], count: Any) -> Any:
    if isinstance(told, dict):
        return {k: count if k in names else _with_count(v, names, count) for k, v in told.items()}
    return [_with_count(each, names, count) for each in told] if isinstance(told, list) else told


def _counting(kind: Kind, count: Any, *, stream: bool) -> Reply:
    """Return an answer that counts so; a text that begins with a letter is all it says of tokens."""

    def change(text: str) -> str:
        changed = _with_count(json.loads(text), NAMES[kind], count)
        if count == "many":
            changed = _with_count(changed, {"usage", "usageMetadata"}, count)
        return json.dumps(changed)

    if not stream:
        return Reply(raw=change(_whole(kind).decode()).encode())
    parts = [event.partition("data: {") for event in _events(kind)]
    return Reply(raw=tuple(f"{a}data: {change(f'{{{b}')}" if mid else a for a, mid, b in parts))


@STREAMS
@pytest.mark.parametrize("kind", KINDS)
async def test_counts_that_are_none_are_not_counted_and_the_turn_goes_on(told, kind: Kind, stream):
    replies = {repr(each): _counting(kind, each, stream=stream) for each in (*COUNTS, "35", 35.0)}
    read = await told(kind, replies, stream=stream)
    known = {name: read.pop(name)[1] for name in ("'35'", "35.0")}
    assert read == {repr(each): (SAID, None, None) for each in COUNTS}
    assert known == {"'35'": 35, "35.0": 35}


async def test_what_an_argument_is_called_is_no_count(open_wire: OpenWire, furnish):
    given = {"expression": "6*7", "usage": {"tokens": "many"}}

    def brain(heard: Heard) -> Reply:
        call = {"index": 0, "id": "c", "function": {"name": "calculate", "arguments": json.dumps(given)}}
        return Reply("Done.") if heard.results else makers.streamed([{"tool_calls": [call]}], "tool_calls")

    house = furnish({"planner": at(open_wire("openai", brain=brain))})
    async with house.open() as orchestrator:
        result = await orchestrator.ask("What is it?", context=house.context())
    assert result.tool_calls[0]["args"] == given


@STREAMS
@pytest.mark.parametrize("kind", KINDS)
async def test_neither_key_nor_words_follow_a_redirect_to_another_server(
    open_wire: OpenWire, furnish, kind: Kind, stream
):
    other, wire = open_wire(kind), open_wire(kind)
    away = other.url.replace("127.0.0.1", "localhost")
    leads = {"302": "/sign-in", "303": away, "307": f"{away}?token=sk-1", "308": away}

    def brain(heard: Heard) -> Reply:
        return Reply(status=int(heard.request), raw=b"", headers={"location": leads[heard.request]})

    wire.brain = brain
    house = furnish({"planner": at(wire, streaming=stream)})
    async with house.open() as orchestrator:
        for status in leads:
            result = await orchestrator.ask(status, context=house.context(path="direct"))
            assert "it rejected the request (it leads on to http://" in result.response
            assert result.response.endswith("Check its model and its base_url.")
            assert "token" not in result.response
        assert other.heard == other.rejected == []


async def test_a_redirect_within_a_server_is_followed_where_it_leads_the_same_request(
    open_wire: OpenWire, furnish
):
    wire, there = open_wire("openai"), open_wire("openai")
    location = f"{there.url}/chat/completions"
    wire.brain = lambda heard: Reply(status=307, raw=b"", headers={"location": location})
    house = furnish({"planner": at(wire)})
    async with house.open() as orchestrator:
        result = await orchestrator.ask("Hello", context=house.context(path="direct"))
    assert result.response == "Answer: Hello"


_CALL = {"name": "calculate", "arguments": '{"expression": "6*7"}'}
SHAPES: Mapping[str, dict[str, Any]] = {
    "no more than words": {"choices": [{"message": {"content": "So."}}]},
    "no role": {"choices": [{"message": {"role": None, "content": "So."}}]},
    "Google's role": {"choices": [{"message": {"role": "model", "content": "So."}}]},
    "one choice, not in a list": {"choices": {"message": {"content": "So."}}},
    "another choice first": {
        "choices": [{"index": 1, "message": {"content": "No."}}, {"index": 0, "message": {"content": "So."}}]
    },
    "words in an object": {"choices": [{"message": {"content": {"text": "So."}}}]},
    "numbers as texts, texts as numbers": {
        "id": 7,
        "model": 5,
        "created": "now",
        "system_fingerprint": 9,
        "choices": [{"index": "0", "message": {"content": "So."}, "logprobs": 5}],
    },
    "no call": {"choices": [{"message": {"content": "So.", "tool_calls": [None, {"function": None}]}}]},
    "details that are none": {
        "choices": [{"message": {"content": "So."}}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4, "prompt_tokens_details": 5},
    },
    "the call of old": {"choices": [{"message": {"function_call": _CALL}, "finish_reason": "function_call"}]},
    "a flat call": {"choices": [{"message": {"tool_calls": [{"id": "c", **_CALL}]}}]},
    "a call, not in a list": {"choices": [{"message": {"tool_calls": {"id": "c", "function": _CALL}}}]},
    "a call with a number": {"choices": [{"message": {"tool_calls": [{"id": 5, "function": _CALL}]}}]},
    "a call of no type": {
        "choices": [{"message": {"tool_calls": [{"id": "c", "type": None, "function": _CALL}]}}]
    },
}
"""What small servers make of OpenAI's answer."""


@STREAMS
async def test_what_small_servers_make_of_an_answer_is_read(open_wire: OpenWire, furnish, stream):
    def brain(heard: Heard) -> Reply:
        body = SHAPES[heard.request]
        if heard.results:
            return Reply("So.")
        if not stream:
            return Reply(raw=json.dumps(body).encode())
        chunk = json.dumps(body).replace('"message": ', '"delta": ')
        return Reply(raw=(f"data: {chunk}", 'data: {"choices": [{"finish_reason": "stop"}]}'))

    house, read = furnish({"planner": at(open_wire("openai", brain=brain), streaming=stream)}), {}
    async with house.open() as orchestrator:
        for shape in SHAPES:
            result = await orchestrator.ask(shape, context=house.context())
            read[shape] = (result.response, [call["result"] for call in result.tool_calls])
    assert read == {
        shape: ("So.", ["42"] if "call" in shape and shape != "no call" else []) for shape in SHAPES
    }
    assert house.rejected() == []


@STREAMS
async def test_a_text_for_blocks_at_anthropics_wire_is_read(told, stream):
    body = json.loads(_whole("anthropic")) | {"content": SAID}
    assert await told("anthropic", {"": Reply(raw=json.dumps(body).encode())}, stream=stream) == {
        "": (SAID, 100, 20)
    }
