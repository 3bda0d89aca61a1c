"""The stand-in wires, driven by the providers' real clients."""

import base64

import httpx
import pytest
from langchain_core.exceptions import ModelInvalidRequestError
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, SystemMessage

from tests.wires.brain import Heard, Kind, Reply
from tests.wires.clients import GREETING, KINDS, PATHS, OpenWire, ask, client_of, get_time, post, results_of
from tests.wires.gemini import signature
from tests.wires.serve import Wire

SIGNATURES = "__gemini_function_call_thought_signatures__"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("kind", KINDS)
async def test_a_real_client_holds_a_conversation_with_parallel_calls(
    open_wire: OpenWire, kind: Kind, stream
):
    wire = open_wire(kind)
    said: list[AnyMessage] = [
        SystemMessage("Be brief."),
        HumanMessage("What time is it? Then delete the notes."),
    ]
    calls = await ask(wire, said, stream=stream)
    assert [call["name"] for call in calls.tool_calls] == ["get_time", "delete_file"]
    assert calls.tool_calls[0]["args"] == {"timezone": "Asia/Tokyo"}

    said += [calls, *results_of(calls, "noon", "Action denied by user")]
    answer = await ask(wire, said, stream=stream)
    assert answer.text == "get_time gave: noon delete_file was denied: Action denied by user"
    assert not answer.tool_calls

    said += [answer, HumanMessage("<request>Thanks!</request>")]
    assert (await ask(wire, said, stream=stream)).text.startswith("Answer: ")
    assert wire.rejected == []
    assert [heard.request for heard in wire.heard][-1] == "Thanks!"
    assert {heard.system for heard in wire.heard} == {"Be brief."}
    assert {heard.stream for heard in wire.heard} == {stream}
    assert set(wire.heard[0].tools) == {"get_time", "delete_file"}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("kind", KINDS)
async def test_token_counts_arrive_as_the_brain_gave_them(open_wire: OpenWire, kind: Kind, stream):
    reply = Reply(text="Hi there.", input_tokens=100, output_tokens=30, cached_tokens=40, reasoning_tokens=10)
    answer = await ask(open_wire(kind, brain=lambda heard: reply), [HumanMessage("hi")], stream=stream)
    usage = answer.usage_metadata
    assert usage is not None
    assert (usage["input_tokens"], usage["output_tokens"], usage["total_tokens"]) == (100, 30, 130)
    assert usage["input_token_details"]["cache_read"] == 40
    assert usage["output_token_details"]["reasoning"] == 10


@pytest.mark.parametrize("kind", KINDS)
async def test_the_same_request_is_answered_the_same_again(open_wire: OpenWire, kind: Kind):
    wire = open_wire(kind)
    first = await ask(wire, [HumanMessage("what time is it")], stream=False)
    second = await ask(wire, [HumanMessage("what time is it")], stream=False)
    assert wire.said[0] == wire.said[1]
    assert (first.tool_calls == second.tool_calls) is (kind != "gemini"), (
        "Gemini's client makes up random ids"
    )


async def test_forbidding_tools_stops_the_calls(gemini_wire: Wire):
    model = client_of(gemini_wire).bind_tools([get_time], tool_choice="none")
    answer = await model.ainvoke([HumanMessage("what time is it")])
    assert answer.text == "Answer: what time is it"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_signature_comes_back_bit_identical(gemini_wire: Wire, stream):
    said: list[AnyMessage] = [HumanMessage("what time is it")]
    calls = await ask(gemini_wire, said, stream=stream)
    await ask(gemini_wire, [*said, calls, *results_of(calls, "noon")], stream=stream)
    sent = gemini_wire.heard[1].raw["contents"][1]["parts"][0]["thoughtSignature"]
    given = signature(gemini_wire.said[0].calls[0])
    assert base64.urlsafe_b64decode(sent) == base64.b64decode(given)


def _altered(calls: AIMessage) -> AIMessage:
    identity = calls.tool_calls[0]["id"]
    return calls.model_copy(update={"additional_kwargs": {SIGNATURES: {identity: "AAAA"}}})


def _rebuilt(calls: AIMessage) -> AIMessage:
    return AIMessage("", tool_calls=calls.tool_calls)


def _edited(calls: AIMessage) -> AIMessage:
    edited = [{**calls.tool_calls[0], "args": {"timezone": "UTC"}}]
    return calls.model_copy(update={"tool_calls": edited})


@pytest.mark.parametrize("spoil", [_altered, _rebuilt, _edited])
async def test_gemini_refuses_its_own_call_when_the_message_was_changed(gemini_wire: Wire, spoil):
    said = [HumanMessage("what time is it")]
    calls = await ask(gemini_wire, said, stream=False)
    with pytest.raises(ModelInvalidRequestError, match="Corrupted thought signature"):
        await ask(gemini_wire, [*said, spoil(calls), *results_of(calls, "noon")], stream=False)
    assert gemini_wire.rejected == ["Corrupted thought signature."]


async def test_gemini_admits_calls_that_another_model_made(gemini_wire: Wire):
    calls = AIMessage("", tool_calls=[{"name": "get_time", "args": {"timezone": "UTC"}, "id": "call_1"}])
    answer = await ask(
        gemini_wire, [HumanMessage("what time is it"), calls, *results_of(calls, "noon")], stream=False
    )
    assert answer.text == "get_time gave: noon"


@pytest.mark.parametrize(("kind", "status"), [("gemini", 400), ("openai", 401), ("anthropic", 401)])
async def test_a_wrong_key_is_refused_as_the_provider_does(open_wire: OpenWire, kind: Kind, status: int):
    wire = open_wire(kind, key="sk-right")
    assert (await ask(wire, [HumanMessage("hi")], stream=False, key="sk-right")).text == "Answer: hi"
    with pytest.raises(Exception, match=str(status)):
        await ask(wire, [HumanMessage("hi")], stream=False, key="sk-wrong")
    assert len(wire.rejected) == 1


async def test_a_missing_key_is_refused(open_wire: OpenWire):
    statuses = [(await post(open_wire(kind, key="sk-right"), PATHS[kind], {})).status_code for kind in KINDS]
    assert statuses == [403, 401, 401]


async def test_open_webui_and_bare_addresses_are_served_too(openai_wire: Wire):
    answers = [
        await post(openai_wire, path, GREETING["openai"])
        for path in ("/api/chat/completions", "/chat/completions")
    ]
    assert [a.json()["choices"][0]["message"]["content"] for a in answers] == ["Answer: hi"] * 2
    async with httpx.AsyncClient(verify=False) as client:
        models = await client.get(openai_wire.root + "/api/models")
    assert models.json()["data"][0]["id"] == "stand-in"


async def test_a_brain_that_raises_is_noted(open_wire: OpenWire):
    def broken(heard: Heard) -> Reply:
        raise LookupError(heard.model)

    wire = open_wire("openai", brain=broken)
    answer = await post(wire, PATHS["openai"], GREETING["openai"])
    assert answer.status_code == 500
    assert wire.rejected == ["the brain failed: LookupError('m')"]
