"""Endpoints that speak OpenAI's wire with an accent: counts, parameters, pieces of calls."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from tests.behaviour.household import House
from tests.models import makers
from tests.models.makers import COUNTS, FRAGMENTS
from tests.wires.brain import Heard, RefusedError, Reply, conversation
from tests.wires.cards import at
from tests.wires.clients import OpenWire

FORBIDDEN = '{{"detail":[{{"type":"extra_forbidden","loc":["body","{}"],"msg":"Extra inputs"}}]}}'
IN_GENERAL = {"model", "messages", "stream", "temperature", "max_tokens", "tools", "tool_choice"}
"""What chat completions take everywhere."""


@pytest.fixture
def furnished(open_wire: OpenWire, furnish) -> Callable[..., House]:
    """Return a function that furnishes a house with one model at OpenAI's wire."""

    def house(brain: Callable[[Heard], Reply], **fields: Any) -> House:
        return furnish({"planner": at(open_wire("openai", brain=brain), **fields)})

    return house


@pytest.mark.parametrize("and_last", [False, True])
async def test_the_last_count_of_a_stream_is_the_count_wherever_it_stands(furnished, and_last):
    last = {"usage": {"prompt_tokens": 35, "completion_tokens": 4, "total_tokens": 39}} if and_last else None
    house = furnished(lambda heard: makers.counted(heard.request, last))
    async with house.open() as orchestrator:
        results = {name: await orchestrator.ask(name, context=house.context()) for name in COUNTS}
        rows = await orchestrator.ledger.usage()
    counted = {name: (r.usage["input_tokens"], r.usage["output_tokens"]) for name, r in results.items()}
    assert counted == dict.fromkeys(COUNTS, (35, 4))
    assert [row["counted_tokens"] for row in rows] == [39] * len(COUNTS)


async def test_running_totals_end_no_turn_at_its_limit(furnished):
    def brain(heard: Heard) -> Reply:
        if len(heard.results) == 2:
            return makers.text("It is 42.", stream=True)
        pieces = [{"tool_calls": [piece]} for piece in FRAGMENTS["without index, id and name"][1]]
        usage = {"prompt_tokens": 100, "completion_tokens": 5, "total_tokens": 105}
        return makers.streamed(pieces, "tool_calls", [{"usage": usage}] * 5)

    house = furnished(brain)
    async with house.open() as orchestrator:
        result = await orchestrator.ask("What is it?", context=house.context(max_tokens=300))
    assert (result.response, result.stop_reason) == ("It is 42.", "answered")


@pytest.mark.parametrize("counts", [[{"output_tokens": 4}], [{"output_tokens": 2}, {"output_tokens": 4}]])
async def test_a_claude_behind_a_gateway_tells_its_prompts_tokens_as_it_begins(
    open_wire: OpenWire, furnish, counts
):
    house = furnish({"planner": at(open_wire("anthropic", brain=lambda heard: _told_apart(counts)))})
    async with house.open() as orchestrator:
        usage = (await orchestrator.ask("When?", context=house.context())).usage
    assert (usage["input_tokens"], usage["cached_tokens"], usage["output_tokens"]) == (35, 30, 4)


def _told_apart(counts: Sequence[Mapping[str, int]]) -> Reply:
    """Return a stream that tells the prompt's tokens first, and the answer's as they are made."""
    first = {"input_tokens": 5, "cache_read_input_tokens": 30, "output_tokens": 1}
    message = {"id": "m", "type": "message", "role": "assistant", "model": "c", "content": [], "usage": first}
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": message},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "Noon."}},
        *[{"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": each} for each in counts],
    ]
    return Reply(raw=tuple(f"event: {event['type']}\ndata: {json.dumps(event)}" for event in events))


def _sent(house: House) -> set[str]:
    return set(house.planner.heard[-1].raw)


@pytest.mark.parametrize("streaming", [True, False])
async def test_an_endpoint_gets_what_chat_completions_in_general_take(furnished, streaming):
    house = furnished(conversation, streaming=streaming, max_output_tokens=500, temperature=0.2)
    async with house.open() as orchestrator:
        await orchestrator.ask("Hello", context=house.context())
    assert _sent(house) - IN_GENERAL == ({"stream_options"} if streaming else set())
    assert house.planner.heard[-1].raw["max_tokens"] == 500


async def test_a_card_can_say_how_the_limit_is_called(furnished):
    house = furnished(conversation, max_output_tokens=500, output_limit_parameter="max_completion_tokens")
    async with house.open() as orchestrator:
        await orchestrator.ask("Hello", context=house.context())
    assert "max_tokens" not in _sent(house)
    assert house.planner.heard[-1].raw["max_completion_tokens"] == 500


async def test_openai_itself_gets_the_name_that_its_reasoning_models_ask_for(furnished, monkeypatch):
    house = furnished(conversation, max_output_tokens=500, base_url=None)
    monkeypatch.setattr("models.providers.openai.ADDRESS", house.planner.url)
    async with house.open() as orchestrator:
        await orchestrator.ask("Hello", context=house.context())
    assert "max_tokens" not in _sent(house)
    assert house.planner.heard[-1].raw["max_completion_tokens"] == 500


async def test_a_strict_endpoint_is_asked_without_what_it_forbids_and_remembered(furnished):
    def strict(heard: Heard) -> Reply:
        for name in heard.raw.keys() - IN_GENERAL:
            raise RefusedError(FORBIDDEN.format(name), status=422)
        return makers.counted("mistral")

    house = furnished(strict, max_output_tokens=500)
    async with house.open() as orchestrator:
        results = [await orchestrator.ask("Hello", context=house.context()) for _ in range(2)]
    assert [(r.response, r.usage["input_tokens"]) for r in results] == [("It is noon.", 35)] * 2
    assert len(house.planner.rejected) == 1


@pytest.mark.slow
async def test_pieces_of_calls_go_on_with_the_call_before_them(furnished):
    def brain(heard: Heard) -> Reply:
        is_first = not heard.results
        return makers.fragmented(heard.request) if is_first else Reply(text="So it is.")

    house = furnished(brain)
    made = {}
    async with house.open() as orchestrator:
        for name in FRAGMENTS:
            result = await orchestrator.ask(name, context=house.context())
            made[name] = [(call["tool"], call["args"], call["status"]) for call in result.tool_calls]
    calls = [("calculate", {"expression": "6*7"}, "executed"), ("get_time", {}, "executed")]
    assert made == {name: calls[:count] for name, (count, _) in FRAGMENTS.items()}
    assert house.rejected() == []
