"""A turn of each family of endpoints: two calls at once, a thought, what goes back, counts, a cut answer."""

import json

import pytest

from nodes.events import Restarted
from tests.models.endpoints.families import CACHED, FAMILIES, HALF, PROMPT, REST, SAID
from tests.models.makers import THOUGHT
from tests.wires.brain import Heard, Reply
from tests.wires.cards import at
from tests.wires.clients import OpenWire


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize("name", FAMILIES)
async def test_a_turn_of_each_family_is_whole(open_wire: OpenWire, furnish, name, stream):
    family = FAMILIES[name]

    def brain(heard: Heard) -> Reply:
        if "Your answer was cut off" in heard.turns[-1].text:
            return family.telling(REST, "stop", stream)
        is_second = bool(heard.results) or heard.request == "And now?"
        return family.telling(HALF, family.cut, stream) if is_second else family.calling(stream)

    house = furnish({"planner": at(open_wire("openai", brain=brain), streaming=stream)})
    async with house.open() as orchestrator:
        context = house.context()
        events = [each async for each in orchestrator.stream("What is it?", thread_id="t", context=context)]
        calling, telling, _further = house.planner.heard
        await orchestrator.ask("And now?", thread_id="t", context=context)
    result, spoken = events[-1].result, ""
    for event in events:
        spoken = "" if isinstance(event, Restarted) else spoken + getattr(event, "text", "")
    assert [(call["tool"], call["status"]) for call in result.tool_calls] == [
        ("calculate", "executed"),
        ("get_time", "executed"),
    ]
    assert (result.response, spoken, result.stop_reason) == (HALF + REST, HALF + REST, "answered")
    *_, sent, _first, _second = telling.raw["messages"]
    assert sent == family.message()
    assert [each.call_id for each in telling.results] == list(family.ids)
    assert THOUGHT not in json.dumps([calling.raw, house.planner.heard[-1].raw]), "nor of a later turn"
    counts = [result.usage[key] for key in ("input_tokens", "output_tokens", "model_calls")]
    assert counts == [3 * PROMPT, 3 * SAID, 3]
    assert result.usage["cached_tokens"] == (3 * CACHED if family.cached else 0)
    assert house.rejected() == []
