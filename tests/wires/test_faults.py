"""The faults, as they reach the real clients."""

import json

import anthropic
import httpx
import openai
import pytest
from langchain_core.exceptions import (
    ContextOverflowError,
    ModelAPIError,
    ModelConnectionError,
    ModelRateLimitError,
)
from langchain_core.messages import HumanMessage
from pydantic import ValidationError

from tests.wires.brain import Kind
from tests.wires.clients import GREETING, KINDS, PATHS, OpenWire, ask
from tests.wires.faults import FAULTS, RETRY_AFTER_S, ROWS


@pytest.mark.slow
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
    assert answer.tool_calls[0]["args"] == {"times": 3, "room": "ha"}


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
async def test_the_seconds_to_wait_arrive_with_a_429(open_wire: OpenWire, kind: Kind):
    wire = open_wire(kind, brain=lambda heard: FAULTS["rate_limited"](kind, False))
    with pytest.raises(ModelRateLimitError) as caught:
        await ask(wire, [HumanMessage("hi")], stream=False)
    assert caught.value.response.headers["retry-after"] == str(RETRY_AFTER_S)
