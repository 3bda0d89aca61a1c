"""Histories that the real providers refuse, and so do the wires."""

from typing import Any

import pytest

from tests.wires.brain import Call
from tests.wires.clients import PATHS, post
from tests.wires.gemini import signature
from tests.wires.serve import Wire


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
