"""What makers send beside OpenAI's fields: sent back to its sender alone, and never read by a person."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from graphs.session import Orchestrator
from graphs.stream import Event
from nodes.events import Restarted, Token
from tests.behaviour.household import House, obedient
from tests.models import makers
from tests.models.makers import BLANK, MAKERS, THINKING, THOUGHT, WITHOUT_BEGIN
from tests.wires.brain import Call, Heard, Kind, RefusedError, Reply
from tests.wires.cards import at
from tests.wires.clients import KINDS, OpenWire
from tests.wires.gemini import signature

STREAMS = pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
PATHS = ("single", "two-brain", "direct")


def _spoken(events: list[Event]) -> str:
    """Return what a watcher is left with."""
    text = ""
    for event in events:
        text = "" if isinstance(event, Restarted) else text + getattr(event, "text", "")
    return text


async def _asked(orchestrator: Orchestrator, request: str, context: Any, thread: str) -> list[Event]:
    return [event async for event in orchestrator.stream(request, thread_id=thread, context=context)]


def _texts(heard: Heard) -> str:
    return json.dumps(heard.raw, ensure_ascii=False)


@pytest.fixture
def furnished(open_wire: OpenWire, furnish) -> Callable[..., House]:
    """Return a function that furnishes a house with one model, of this brain."""

    def house(brain: Callable[[Heard], Reply], stream: bool, **fields: Any) -> House:
        return furnish({"planner": at(open_wire("openai", brain=brain), streaming=stream, **fields)})

    return house


@STREAMS
@pytest.mark.slow
async def test_what_a_maker_puts_beside_a_call_goes_back_to_it_as_it_came(furnished, stream):
    def brain(heard: Heard) -> Reply:
        is_first = heard.request in MAKERS and not heard.results
        return MAKERS[heard.request].reply(stream) if is_first else Reply(text="It is 42.")

    house = furnished(brain, stream)
    back, spoken = {}, {}
    async with house.open() as orchestrator:
        for name in MAKERS:
            events = await _asked(orchestrator, name, house.context(), name)
            back[name] = house.planner.heard[-1].raw["messages"][-2]
            spoken[name] = _spoken(events)
            await orchestrator.ask("And now?", thread_id=name, context=house.context())
            assert THOUGHT not in _texts(house.planner.heard[-1]), "it is no part of the history"
    assert back == {name: {"role": "assistant", **maker.message} for name, maker in MAKERS.items()}
    assert {name: THOUGHT in text for name, text in spoken.items()} == dict.fromkeys(MAKERS, False)
    assert house.rejected() == []


@STREAMS
@pytest.mark.slow
async def test_what_a_maker_puts_beside_a_call_goes_to_no_other_model(open_wire: OpenWire, furnish, stream):
    def absent_in_the_second_round(heard: Heard) -> Reply:
        done = sum(turn.role == "tool" for turn in heard.turns)
        reply = [MAKERS[heard.request].reply(stream), Reply(status=500, error="gone"), Reply(text="42.")]
        return reply[done]

    def second_round(heard: Heard) -> Reply:
        return Reply(calls=(Call("get_time", {}),))

    spares = {kind: at(open_wire(kind, brain=second_round), streaming=stream) for kind in KINDS}
    first = at(open_wire("openai", brain=absent_in_the_second_round), streaming=stream)
    roles = {f"with-{kind}": ["planner", kind] for kind in KINDS}
    house = furnish({"planner": first, **spares}, roles)
    async with house.open() as orchestrator:
        for place, (name, maker) in enumerate(MAKERS.items()):
            kind = KINDS[place % 3]
            context = house.context(path="single", orchestrator=f"with-{kind}")
            result = await orchestrator.ask(name, context=context)
            assert (name, result.backend, result.response.partition("\n")[0]) == (name, "planner", "42.")
            assert THOUGHT not in _texts(house.wires[kind].heard[-1])
            sent = [m for m in house.planner.heard[-1].raw["messages"] if m["role"] == "assistant"]
            assert sent[0] == {"role": "assistant", **maker.message}
    assert house.rejected() == []


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        (
            "openai",
            "The `reasoning_content` in the thinking mode must be passed back to the API.",
        ),  # DeepSeek
        ("openai", "Tool call id was call_1 but must be a-z, A-Z, 0-9, with a length of 9."),  # Mistral
        ("gemini", "Function call is missing a thought_signature in functionCall parts."),
        ("anthropic", "Expected `thinking` or `redacted_thinking`, but found `tool_use`."),
    ],
)
async def test_a_model_that_refuses_the_calls_of_another_is_told_of_them_in_words(
    open_wire: OpenWire, furnish, kind: Kind, why
):
    def refuses(heard: Heard) -> Reply:
        if any(turn.calls for turn in heard.turns):
            raise RefusedError(why)
        return Reply(text=f"Read: {heard.request}")

    def first_round_only(heard: Heard) -> Reply:
        return Reply(status=500, error="gone") if heard.results else obedient(heard)

    first, spare = at(open_wire("openai", brain=first_round_only)), at(open_wire(kind, brain=refuses))
    house = furnish({"planner": first, "spare": spare}, {"orchestrator": ["planner", "spare"]})
    async with house.open() as orchestrator:
        context = house.context(path="single")
        result = await orchestrator.ask('calculate {"expression": "6*7"}', context=context)
    assert (result.backend, result.stop_reason) == ("spare", "answered")
    assert "Result of calculate: 42" in result.response
    assert house.rejected() == [why]


async def test_a_model_that_refuses_its_own_calls_is_told_of_them_in_words(furnished):
    def refuses(heard: Heard) -> Reply:
        if any(turn.calls and not turn.text for turn in heard.turns):  # Kimi
            raise RefusedError("text content is empty")
        is_first = "Result of calculate" not in heard.turns[-1].text
        call = Call("calculate", {"expression": "6*7"})
        return Reply(calls=(call,)) if is_first else Reply(text="It is 42.")

    house = furnished(refuses, stream=True)
    async with house.open() as orchestrator:
        result = await orchestrator.ask("What is it?", context=house.context())
    assert (result.response, len(result.tool_calls)) == ("It is 42.", 1)
    assert house.rejected() == ["text content is empty"]


@STREAMS
@pytest.mark.slow
async def test_thoughts_in_the_content_are_no_part_of_answer_summary_or_history(furnished, stream):
    house = furnished(lambda heard: makers.text(THINKING[heard.request][0], stream, 1), stream)
    read = {}
    async with house.open() as orchestrator:
        for path in PATHS:
            context = house.context(path=path, responder="planner")
            for name in list(THINKING)[: 3 if read else None]:
                events = await _asked(orchestrator, name, context, path)
                result = events[-1].result
                read[path, name] = (result.response, _spoken(events))
                assert THOUGHT not in result.summary
    assert read == {key: (THINKING[key[1]][1],) * 2 for key in read}
    assert not any(THOUGHT in _texts(heard) for heard in house.planner.heard)


@STREAMS
async def test_thoughts_that_began_in_the_prompt_are_taken_back_and_next_time_not_heard(furnished, stream):
    house = furnished(lambda heard: makers.text(WITHOUT_BEGIN[heard.request], stream), stream)
    heard: list[str] = []
    async with house.open() as orchestrator:
        for path in PATHS:
            context = house.context(path=path, responder="planner")
            for name in WITHOUT_BEGIN:
                events = await _asked(orchestrator, name, context, path)
                assert (events[-1].result.response, _spoken(events)) == ("It is noon.", "It is noon.")
                heard.append("".join(event.text for event in events if isinstance(event, Token)))
    assert [THOUGHT in words for words in heard] == [stream, *[False] * (len(heard) - 1)]
    assert not any(THOUGHT in _texts(request) for request in house.planner.heard)


async def test_of_a_model_that_is_said_to_think_first_no_thought_is_ever_heard(furnished):
    house = furnished(
        lambda heard: makers.text(WITHOUT_BEGIN[heard.request], stream=True), stream=True, thinks_first=True
    )
    async with house.open() as orchestrator:
        events = await _asked(orchestrator, "qwen at vllm", house.context(), "t")
    assert "".join(event.text for event in events if isinstance(event, Token)) == "It is noon."
    assert not any(isinstance(event, Restarted) for event in events)


async def test_a_model_that_once_lacked_the_first_tag_may_answer_without_a_thought(furnished):
    answers = {
        "one": WITHOUT_BEGIN["deepseek"],
        "two": "It is one.",
        "three": f"<think>{THOUGHT}</think>Two.",
    }
    house = furnished(lambda heard: makers.text(answers[heard.request], stream=True), stream=True)
    async with house.open() as orchestrator:
        events = [await _asked(orchestrator, name, house.context(), "t") for name in answers]
    assert [each[-1].result.response for each in events] == ["It is noon.", "It is one.", "Two."]
    assert [_spoken(each) for each in events] == ["It is noon.", "It is one.", "Two."]


@STREAMS
async def test_a_reply_of_thoughts_alone_is_blank_and_asked_for_again(furnished, stream):
    def brain(heard: Heard) -> Reply:
        name, _, reminder = heard.request.partition("\n\n")
        return Reply(text="It is noon.") if "blank" in reminder else makers.text(BLANK[name], stream)

    house = furnished(brain, stream, max_retries=1)
    async with house.open() as orchestrator:
        for number, name in enumerate(BLANK, 1):
            events = await _asked(orchestrator, name, house.context(), name)
            assert (events[-1].result.response, _spoken(events)) == ("It is noon.", "It is noon.")
            assert len(house.planner.heard) == 2 * number


@STREAMS
async def test_a_call_written_out_after_a_thought_is_a_call(furnished, stream):
    call = '<tool_call>{"name": "calculate", "arguments": {"expression": "6*7"}}</tool_call>'
    thoughts = {"qwen": "<think>{}</think>\n", "claude": "<thinking>{}</thinking>", "r1": "{}\n</think>\n\n"}

    def brain(heard: Heard) -> Reply:
        is_first = not any(turn.calls for turn in heard.turns)
        written = thoughts[heard.request].format(f"{THOUGHT} I write {call}") + call
        return makers.text(written, stream) if is_first else Reply(text="It is 42.")

    house = furnished(brain, stream)
    async with house.open() as orchestrator:
        for thought in thoughts:
            events = await _asked(orchestrator, thought, house.context(), thought)
            result = events[-1].result
            assert [(each["tool"], each["result"]) for each in result.tool_calls] == [("calculate", "42")]
            assert (result.response, _spoken(events)) == ("It is 42.", "It is 42.")


@STREAMS
async def test_a_call_within_thoughts_is_none(furnished, stream):
    call = '<tool_call>{"name": "calculate", "arguments": {"expression": "6*7"}}</tool_call>'
    house = furnished(lambda heard: makers.text(f"<think>{call}</think>I call none.", stream), stream)
    async with house.open() as orchestrator:
        result = await orchestrator.ask("What is it?", context=house.context())
    assert (result.response, result.tool_calls) == ("I call none.", [])


def _claude(stream: bool) -> Reply:
    """Return a thought of Claude's, signed, and a call."""
    thought = {"type": "thinking", "thinking": THOUGHT, "signature": f"{THOUGHT}=="}
    call = {"type": "tool_use", "id": "toolu_1", "name": "calculate", "input": {"expression": "6*7"}}
    message = {"id": "m", "type": "message", "role": "assistant", "model": "c", "stop_sequence": None}
    usage = {"input_tokens": 10, "output_tokens": 5}
    if not stream:
        whole = {**message, "content": [thought, call], "stop_reason": "tool_use", "usage": usage}
        return Reply(raw=json.dumps(whole).encode())
    blocks = [{"type": "thinking", "thinking": "", "signature": ""}, {**call, "input": {}}]
    deltas = [
        {"type": "thinking_delta", "thinking": THOUGHT},
        {"type": "signature_delta", "signature": f"{THOUGHT}=="},
        {"type": "input_json_delta", "partial_json": json.dumps(call["input"])},
    ]
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": {**message, "content": [], "stop_reason": None, "usage": usage}},
        {"type": "content_block_start", "index": 0, "content_block": blocks[0]},
        *[{"type": "content_block_delta", "index": 0, "delta": delta} for delta in deltas[:2]],
        {"type": "content_block_start", "index": 1, "content_block": blocks[1]},
        {"type": "content_block_delta", "index": 1, "delta": deltas[2]},
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": usage},
    ]
    return Reply(raw=tuple(f"event: {event['type']}\ndata: {json.dumps(event)}" for event in events))


def _gemini(stream: bool) -> Reply:
    """Return a thought of Gemini's and an answer."""
    parts = [{"text": THOUGHT, "thought": True}, {"text": "It is "}, {"text": "noon."}]
    bodies = [{"content": {"parts": [part], "role": "model"}, "index": 0} for part in parts]
    bodies[-1]["finishReason"] = "STOP"
    if not stream:
        body = {**bodies[-1], "content": {"parts": parts, "role": "model"}}
        return Reply(raw=json.dumps({"candidates": [body]}).encode())
    return Reply(raw=tuple(f"data: {json.dumps({'candidates': [body]})}" for body in bodies))


def _mistral(stream: bool) -> Reply:
    """Return a thought of Mistral's and an answer."""
    thought = {"type": "thinking", "thinking": [{"type": "text", "text": THOUGHT}]}
    if stream:
        return makers.streamed([{"content": [thought]}, {"content": "It is "}, {"content": "noon."}])
    return makers.whole({"content": [thought, {"type": "text", "text": "It is noon."}]})


def _thinking_claude(stream: bool) -> Reply:
    """Return a thought of Claude's and an answer."""
    raw = _claude(stream).raw
    call = '"type": "tool_use", "id": "toolu_1", "name": "calculate", "input": '
    said = '"type": "text", "text": "It is noon."'
    if isinstance(raw, bytes):
        return Reply(raw=raw.replace(f'{call}{{"expression": "6*7"}}'.encode(), said.encode()))
    assert raw
    return Reply(raw=tuple(e.replace(f"{call}{{}}", said) for e in raw if "input_json_delta" not in e))


@STREAMS
@pytest.mark.parametrize(
    ("kind", "thinks"), [("gemini", _gemini), ("openai", _mistral), ("anthropic", _thinking_claude)]
)
async def test_thoughts_in_blocks_of_their_own_are_no_part_of_answer_or_history(
    open_wire: OpenWire, furnish, kind: Kind, thinks, stream
):
    wire = open_wire(kind, brain=lambda heard: thinks(stream))
    house = furnish({"planner": at(wire, streaming=stream)})
    async with house.open() as orchestrator:
        for path in PATHS:
            context = house.context(path=path, responder="planner")
            events = await _asked(orchestrator, "When?", context, "t")
            assert (path, events[-1].result.response, _spoken(events)) == (path, *["It is noon."] * 2)
    assert not any(THOUGHT in _texts(heard) for heard in wire.heard)


@STREAMS
async def test_a_signed_thought_goes_back_to_its_claude_and_to_no_other(open_wire: OpenWire, furnish, stream):
    def absent_in_the_second_round(heard: Heard) -> Reply:
        done = sum(turn.role == "tool" for turn in heard.turns)
        return [_claude(stream), Reply(status=500, error="gone"), Reply(text="42.")][done]

    first = at(open_wire("anthropic", brain=absent_in_the_second_round), streaming=stream)
    spare = at(open_wire("anthropic", brain=lambda heard: Reply(calls=(Call("get_time", {}),))))
    house = furnish({"planner": first, "spare": spare}, {"orchestrator": ["planner", "spare"]})
    async with house.open() as orchestrator:
        result = await orchestrator.ask("What is it?", context=house.context(path="single"))
    assert (result.backend, result.response.partition("\n")[0]) == ("planner", "42.")
    assert THOUGHT not in _texts(house.wires["spare"].heard[-1])
    sent = next(m for m in house.planner.heard[-1].raw["messages"] if m["role"] == "assistant")
    assert sent["content"][0] == {"type": "thinking", "thinking": THOUGHT, "signature": f"{THOUGHT}=="}
    assert house.rejected() == []


@STREAMS
async def test_a_signature_goes_back_to_its_gemini_and_to_no_other(open_wire: OpenWire, furnish, stream):
    def absent_in_the_second_round(heard: Heard) -> Reply:
        done = sum(turn.role == "tool" for turn in heard.turns)
        signed = Reply(calls=(Call("calculate", {"expression": "6*7"}),))
        return [signed, Reply(status=500, error="gone"), Reply(text="42.")][done]

    first = at(open_wire("gemini", brain=absent_in_the_second_round), streaming=stream)
    spare = at(open_wire("gemini", brain=lambda heard: Reply(calls=(Call("get_time", {}),))))
    house = furnish({"planner": first, "spare": spare}, {"orchestrator": ["planner", "spare"]})
    async with house.open() as orchestrator:
        result = await orchestrator.ask("What is it?", context=house.context(path="single"))
    assert (result.backend, result.response.partition("\n")[0]) == ("planner", "42.")
    sent = signature(Call("calculate", {"expression": "6*7"})).translate(str.maketrans("+/", "-_"))
    assert sent not in _texts(house.wires["spare"].heard[-1])
    assert sent in _texts(house.planner.heard[-1])
    assert house.rejected() == []
