"""Calls that a model wrote into its text: read where nothing is in doubt, never shown as an answer."""

import json

import pytest
from langchain_core.messages import HumanMessage

from base.errors import NoModelAnsweredError
from base.settings import load_settings
from models.call import Ask, Caller
from tests.wires.brain import Reply
from tests.wires.cards import at, configure
from tests.wires.clients import OpenWire

PARAMETERS = {
    "type": "object",
    "properties": {"times": {"type": "integer"}, "room": {"type": "string"}},
    "required": ["times"],
}
TOOL = {"type": "function", "function": {"name": "ring_bell", "description": "…", "parameters": PARAMETERS}}
ARGS = {"times": 3, "room": "hall"}
CALL = json.dumps({"name": "ring_bell", "arguments": ARGS})
KIMI = (
    "I ring.<|tool_calls_section_begin|><|tool_call_begin|>functions.ring_bell:0"
    '<|tool_call_argument_begin|>{"times": 3}<|tool_call_end|><|tool_calls_section_end|>'
)
DEEPSEEK = (
    "I ring.<|tool▁calls▁begin|><|tool▁call▁begin|>function<|tool▁sep|>ring_bell\n"
    '```json\n{"times": 3}\n```<|tool▁call▁end|><|tool▁calls▁end|>'
).replace("|", "\N{FULLWIDTH VERTICAL LINE}")


@pytest.fixture
def reply_to(tmp_path, open_wire: OpenWire):
    """Return a function that has a model say a text and returns what the caller makes of it."""

    async def said(text: str, tools=(TOOL,)):
        wire = open_wire("openai", brain=lambda heard: Reply(text=text))
        caller = Caller(load_settings(configure(tmp_path, {"model": at(wire)}, {"chat": ["model"]})))
        return (await caller.call(Ask("chat", [HumanMessage("Ring.")], "local", tools), _nobody)).message

    return said


async def _nobody(attempt) -> None: ...


@pytest.mark.parametrize(
    "text",
    [
        f"<tool_call>\n{CALL}\n</tool_call>\n",
        f"```json\n{CALL}\n```",
        f"```\n{CALL}\n```",
        CALL,
        json.dumps({"type": "function", "name": "ring_bell", "parameters": ARGS}),
        f"<function=ring_bell>{json.dumps(ARGS)}</function>",
    ],
)
async def test_a_reply_that_is_one_call_of_an_offered_tool_is_that_call(reply_to, text):
    message = await reply_to(text)
    assert [(call["name"], call["args"]) for call in message.tool_calls] == [("ring_bell", ARGS)]
    assert message.text == ""


@pytest.mark.parametrize(
    "text",
    [
        f"I ring it.\n<tool_call>\n{CALL}\n</tool_call>",
        f"<tool_call>{CALL}</tool_call><tool_call>{CALL}</tool_call>",
        f"<tool_call>{CALL[:-9]}",
        "<tool_call>",
        '<tool_call>{"name": "launch_rocket", "arguments": {}}</tool_call>',
        "<tool_call><function=ring_bell><parameter=times>3</parameter></function></tool_call>",
        "<function=ring_bell>three times</function>",
        f"[TOOL_CALLS][{CALL}]",
        "<tool_call>ring_bell\n<arg_key>times</arg_key>\n<arg_value>3</arg_value>\n</tool_call>",  # GLM
        KIMI,
        DEEPSEEK,
        f"<|python_tag|>{CALL}",  # Llama
        '{"name": "ring_bell", "arguments": {"room": "hall"}}',
        '{"name": "ring_bell", "arguments": {"times": 3, "volume": 11}}',
        '{"name": "ring_bell", "arguments": {"times": 9999999999999999999999999}}',
        '```json\n{"name": "ring_bell", "arguments": "3"}\n```',
    ],
)
async def test_markup_of_a_call_in_doubt_neither_runs_nor_is_shown(reply_to, text):
    with pytest.raises(NoModelAnsweredError) as caught:
        await reply_to(text)
    assert caught.value.cause == "malformed"


@pytest.mark.parametrize(
    "text",
    [
        '```json\n{"name": "Ada", "born": 1815}\n```',
        '{"name": "launch_rocket", "arguments": {}}',
        '{"name": "ring_bell", "arguments": {"times": 3}, "result": "rung"}',
        f"A call looks like this:\n```json\n{CALL}\n```",
        f"Qwen writes `<tool_call>{CALL}</tool_call>`.",
        f"Qwen writes\n```\n<tool_call>{CALL}</tool_call>\n```",
        "Qwen puts a call between <tool_call> and </tool_call>.",
        "Kimi ends one with `<|tool_call_end|>`, and Llama begins it with <|python_tag|>.",
        "[1, 2]",
        "{",
    ],
)
async def test_an_answer_that_holds_json_or_tells_of_calls_stays_an_answer(reply_to, text):
    message = await reply_to(text)
    assert (message.text, message.tool_calls) == (text, [])


async def test_where_no_tool_is_offered_json_is_an_answer_and_a_tagged_call_is_none(reply_to):
    assert (await reply_to(CALL, tools=())).text == CALL
    with pytest.raises(NoModelAnsweredError):
        await reply_to(f"<tool_call>{CALL}</tool_call>", tools=())


async def test_a_huge_reply_of_markup_that_never_becomes_a_call_is_judged_in_one_pass(reply_to):
    text = f"Qwen writes {'<tool_call>so' * 70_000}"  # in quadratic time: minutes
    assert (await reply_to(text)).text == text
