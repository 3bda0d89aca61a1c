"""The stand-in wires, driven by the providers' real clients."""

import base64
import json
from collections.abc import Callable, Sequence
from typing import Any

import anthropic
import httpx
import openai
import pytest
from langchain_core.exceptions import (
    ContextOverflowError,
    ModelAPIError,
    ModelConnectionError,
    ModelInvalidRequestError,
    ModelRateLimitError,
)
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import (
    AIMessage,
    AnyMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.messages.ai import add_ai_message_chunks
from pydantic import ValidationError

from tests.wires.brain import Call, Heard, Kind, Reply
from tests.wires.faults import FAULTS, RETRY_AFTER_S, ROWS
from tests.wires.gemini import signature
from tests.wires.serve import Wire

KINDS: tuple[Kind, ...] = ("gemini", "openai", "anthropic")
SIGNATURES = "__gemini_function_call_thought_signatures__"

PATHS = {
    "gemini": "/v1beta/models/m:generateContent",
    "openai": "/v1/chat/completions",
    "anthropic": "/v1/messages",
}
GREETING: dict[Kind, dict[str, Any]] = {
    "gemini": {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]},
    "openai": {"model": "m", "messages": [{"role": "user", "content": "hi"}]},
    "anthropic": {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]},
}

OpenWire = Callable[..., Wire]


def get_time(timezone: str) -> str:
    """Tell the time."""
    return timezone


def delete_file(path: str) -> str:
    """Delete a file."""
    return path


def client_of(wire: Wire, key: str = "sk-test") -> BaseChatModel:
    match wire.kind:
        case "gemini":
            from langchain_google_genai import ChatGoogleGenerativeAI

            return ChatGoogleGenerativeAI(
                model="gemini-3-flash-preview", api_key=key, base_url=wire.url, max_retries=1, timeout=10
            )
        case "openai":
            from langchain_openai import ChatOpenAI

            return ChatOpenAI(
                model="gpt-test",
                api_key=key,
                base_url=wire.url,
                use_responses_api=False,
                stream_usage=True,
                max_retries=0,
            )
        case _:
            from langchain_anthropic import ChatAnthropic

            return ChatAnthropic(model="claude-sonnet-4-6", api_key=key, base_url=wire.url, max_retries=0)


async def ask(wire: Wire, messages: Sequence[AnyMessage], *, stream: bool, key: str = "sk-test") -> AIMessage:
    model = client_of(wire, key).bind_tools([get_time, delete_file])
    if not stream:
        return await model.ainvoke(messages)
    chunks = [chunk async for chunk in model.astream(messages)]
    return add_ai_message_chunks(*chunks)


def results_of(answer: AIMessage, *texts: str) -> list[ToolMessage]:
    calls = zip(answer.tool_calls, texts, strict=True)
    return [ToolMessage(text, tool_call_id=call["id"], name=call["name"]) for call, text in calls]


async def post(wire: Wire, path: str, body: dict[str, Any]) -> httpx.Response:
    async with httpx.AsyncClient(verify=False) as client:
        return await client.post(wire.root + path, json=body)


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


def _gemini_call(name: str = "get_time", sign: str | None = None) -> dict[str, Any]:
    return {
        "functionCall": {"name": name, "args": {}},
        "thoughtSignature": sign or signature(Call(name, {})),
    }


def _gemini_result(name: str = "get_time") -> dict[str, Any]:
    return {"functionResponse": {"name": name, "response": {"output": "noon"}}}


def _user(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "parts": list(parts)}


def _model(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"role": "model", "parts": list(parts)}


HI = _user({"text": "hi"})
BARE_CALL = {"functionCall": {"name": "get_time", "args": {}}}


@pytest.mark.parametrize(
    ("contents", "reason"),
    [
        ([], "contents is not specified"),
        ([_user()], "parts must not be empty"),
        ([HI, _model({"text": "hello"})], "end with a user role"),
        ([HI, _model(_gemini_call())], "end with a user role"),
        ([HI, _model(_gemini_call()), HI], "number of function response parts"),
        (
            [HI, _model(_gemini_call(), BARE_CALL), _user(_gemini_result())],
            "number of function response parts",
        ),
        ([HI, _model(_gemini_call()), _user(*[_gemini_result()] * 2)], "number of function response parts"),
        ([HI, _user(_gemini_result())], "immediately after a function call turn"),
        ([_model(_gemini_call()), _user(_gemini_result())], "immediately after a user turn"),
        ([HI, _model(_gemini_call()), _user(_gemini_result("other"))], "names"),
        ([HI, _model(BARE_CALL), _user(_gemini_result())], "missing a thought_signature"),
        ([HI, _model(_gemini_call(sign="AAAA")), _user(_gemini_result())], "Corrupted thought signature"),
        ([HI, _model(_gemini_call(sign="!")), _user(_gemini_result()), HI], "Corrupted thought signature"),
    ],
)
async def test_gemini_refuses_a_broken_history(gemini_wire: Wire, contents, reason):
    answer = await post(gemini_wire, PATHS["gemini"], {"contents": contents})
    assert (answer.status_code, answer.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")
    assert reason in gemini_wire.rejected[0]
    assert gemini_wire.heard == []


async def test_gemini_forgives_a_missing_signature_in_earlier_turns(gemini_wire: Wire):
    contents = [HI, _model(BARE_CALL), _user(_gemini_result()), _model({"text": "noon"}), HI]
    answer = await post(gemini_wire, PATHS["gemini"], {"contents": contents})
    assert answer.status_code == 200


def _said(role: str, content: Any = "hi", **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **more}


def _calling(*ids: str, arguments: Any = "{}") -> dict[str, Any]:
    calls = [{"id": i, "type": "function", "function": {"name": "f", "arguments": arguments}} for i in ids]
    return _said("assistant", None, tool_calls=calls)


def _tool(identity: str) -> dict[str, Any]:
    return _said("tool", "noon", tool_call_id=identity)


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ([], "empty array"),
        ([_said("narrator")], "Supported values"),
        ([_said("user", None)], "expected a string, got null"),
        ([_said("user"), _said("assistant", None), _said("user")], "expected a string, got null"),
        ([_said("user"), _said("assistant")], "last message must not be from the assistant"),
        ([_said("user"), _calling("a")], "did not have response messages: a"),
        ([_said("user"), _calling("a"), _said("user"), _tool("a")], "did not have response messages: a"),
        ([_said("user"), _calling("a", "b"), _tool("a")], "did not have response messages: b"),
        ([_said("user"), _tool("a")], "must be a response to a preceeding message"),
        (
            [_said("user"), _calling("a"), _tool("a"), _tool("b")],
            "must be a response to a preceeding message",
        ),
        ([_said("user"), _calling("a"), _tool("a"), _tool("a")], "Duplicate value for 'tool_call_id'"),
        ([_said("user"), _calling("a", "a"), _tool("a"), _tool("a")], "Duplicate value"),
        ([_said("user"), _calling(""), _tool("")], "minimum length 1"),
        ([_said("user"), _calling("a", arguments={}), _tool("a")], "expected a string"),
        ([_said("user"), _calling("a", arguments='{"x'), _tool("a")], "not valid JSON"),
        ([_said("user"), _said("assistant", tool_calls=[]), _said("user")], "empty array"),
    ],
)
async def test_openai_refuses_a_broken_history(openai_wire: Wire, messages, reason):
    answer = await post(openai_wire, PATHS["openai"], {"model": "m", "messages": messages})
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")
    assert reason in openai_wire.rejected[0]
    assert openai_wire.heard == []


def _use(*ids: str, given: Any = None) -> dict[str, Any]:
    given = {} if given is None else given
    return _said("assistant", [{"type": "tool_use", "id": i, "name": "f", "input": given} for i in ids])


def _answers(*ids: str) -> dict[str, Any]:
    return _said("user", [{"type": "tool_result", "tool_use_id": i, "content": "noon"} for i in ids])


LATE = _said("user", [{"type": "text", "text": "so"}, *_answers("a")["content"]])


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ([], "at least one message"),
        ([_said("system")], "Input should be 'user' or 'assistant'"),
        ([_said("assistant"), _said("user")], "first message must use"),
        ([_said("user"), _said("assistant")], "assistant message prefill"),
        ([_said("user", "")], "text content blocks must be non-empty"),
        ([_said("user", " ")], "non-whitespace"),
        ([_said("user", [])], "non-empty content"),
        ([_said("user"), _use("a"), _said("user")], "`tool_use` ids were found without `tool_result`"),
        ([_said("user"), _use("a", "b"), _answers("a")], "immediately after: b"),
        ([_said("user"), _use("a"), LATE], "immediately after: a"),
        ([_said("user"), _answers("a")], "unexpected `tool_use_id`"),
        ([_said("user"), _use("a"), _answers("a", "b")], "unexpected `tool_use_id`"),
        ([_said("user"), _use("a"), _answers("a", "a")], "must have a single result"),
        ([_said("user"), _use("a"), _answers("a"), _use("a"), _answers("a")], "ids must be unique"),
        ([_said("user"), _use("a", "a"), _answers("a")], "ids must be unique"),
        ([_said("user"), _use("call:1"), _answers("call:1")], "should match pattern"),
        ([_said("user"), _use(""), _answers("")], "should match pattern"),
        ([_said("user"), _use("a", given="x"), _answers("a")], "valid dictionary"),
    ],
)
async def test_anthropic_refuses_a_broken_history(anthropic_wire: Wire, messages, reason):
    body = {"model": "m", "max_tokens": 9, "messages": messages, "tools": [{"name": "f", "input_schema": {}}]}
    answer = await post(anthropic_wire, PATHS["anthropic"], body)
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")
    assert reason in anthropic_wire.rejected[0]
    assert anthropic_wire.heard == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"tools": []}, "must define tools"),
        ({"tool_choice": {"type": "tool", "name": "none"}}, "not found in provided tools"),
        ({"max_tokens": None}, "Field required"),
    ],
)
async def test_anthropic_refuses_a_history_that_its_frame_does_not_fit(anthropic_wire: Wire, change, reason):
    body = {
        "model": "m",
        "max_tokens": 9,
        "messages": [_said("user"), _use("a"), _answers("a")],
        "tools": [{"name": "f", "input_schema": {}}],
    }
    body = {key: value for key, value in (body | change).items() if value is not None}
    await post(anthropic_wire, PATHS["anthropic"], body)
    assert reason in anthropic_wire.rejected[0]


async def test_every_fault_is_served_in_every_row(open_wire: OpenWire):
    wires = {kind: open_wire(kind) for kind in KINDS}
    async with httpx.AsyncClient(verify=False) as client:
        for name, kind, stream in ROWS:
            wires[kind].brain = lambda _, name=name, kind=kind, stream=stream: FAULTS[name](kind, stream)
            method = "streamGenerateContent" if stream else "generateContent"
            path = PATHS[kind].replace("generateContent", method)
            try:
                answer = await client.post(wires[kind].root + path, json=GREETING[kind] | {"stream": stream})
            except httpx.RemoteProtocolError:
                assert name == "cut_connection"
            else:
                assert answer.status_code == FAULTS[name](kind, stream).status
    assert [wire.rejected for wire in wires.values()] == [[], [], []]
    assert sum(len(wire.heard) for wire in wires.values()) == len(ROWS)


@pytest.mark.parametrize(
    ("name", "kind", "stream", "error"),
    [
        ("error_mid_stream", "gemini", True, ModelAPIError),
        ("error_mid_stream", "openai", True, openai.APIError),
        ("error_mid_stream", "anthropic", True, anthropic.APIStatusError),
        ("cut_connection", "gemini", True, httpx.RemoteProtocolError),
        ("cut_connection", "openai", False, ModelConnectionError),
        ("garbage_body", "openai", False, json.JSONDecodeError),
        ("object_arguments", "openai", False, ValidationError),
        ("context_overflow", "gemini", False, ContextOverflowError),
        ("context_overflow", "anthropic", False, ContextOverflowError),
    ],
)
async def test_a_fault_strikes_the_real_client(open_wire: OpenWire, name, kind: Kind, stream: bool, error):
    wire = open_wire(kind, brain=lambda heard: FAULTS[name](kind, stream))
    with pytest.raises(error):
        await ask(wire, [HumanMessage("what time is it")], stream=stream)


async def test_arguments_cut_short_in_a_stream_look_whole_to_the_real_client(open_wire: OpenWire):
    wire = open_wire("openai", brain=lambda heard: FAULTS["truncated_arguments"]("openai", True))
    answer = await ask(wire, [HumanMessage("what time is it")], stream=True)
    assert answer.tool_calls[0]["args"] == {"timezone": "Asia/To"}


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
async def test_the_seconds_to_wait_arrive_with_a_429(open_wire: OpenWire, kind: Kind):
    wire = open_wire(kind, brain=lambda heard: FAULTS["rate_limited"](kind, False))
    with pytest.raises(ModelRateLimitError) as caught:
        await ask(wire, [HumanMessage("hi")], stream=False)
    assert caught.value.response.headers["retry-after"] == str(RETRY_AFTER_S)
