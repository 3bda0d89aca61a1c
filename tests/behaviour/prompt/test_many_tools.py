"""With many tools the planner is shown some, finds the others, and may call any that its person may."""

import json
from dataclasses import replace

import pytest

from nodes.prompt.compaction import CHARS_PER_TOKEN
from nodes.prompt.tool_choice import CORE, MOST_SCHEMAS
from tests.behaviour.household import House, obedient
from tests.wires.brain import Call, Heard, Reply
from tools.declaration import tool
from tools.registry import Registry, open_registry

ROOMS = ("attic", "bathroom", "cellar", "garage", "kitchen", "library")
THINGS = ("blind", "boiler", "camera", "fan", "lamp", "lock", "radio", "sensor", "sprinkler", "window")
WORDS = "It is one of the many devices of this house, and it answers with how it stands. " * 4


@tool(effect="read", role="guest")
def device() -> str:
    """Ask a device."""
    return "It is fine."


@tool(effect="read", role="admin")
def open_vault() -> str:
    """Tell how the lamp of the vault stands."""
    return "It is shut."


@tool(effect="read", missing=lambda settings: "set [tools.aquarium] host")
def aquarium() -> str:
    """Tell how the lamp of the aquarium stands."""
    return "It is dark."


DEVICES = [
    replace(
        device, name=f"{room}_{thing}", description=f"Tell how the {thing} of the {room} stands.\n\n{WORDS}"
    )
    for room in ROOMS
    for thing in THINGS
]


@pytest.fixture
def house(settle, monkeypatch) -> House:
    """Return a house with sixty devices besides its usual tools."""
    house = settle("openai", context_window=32_000)

    def with_devices(settings) -> Registry:
        return Registry([*open_registry(settings), *DEVICES, open_vault, aquarium])

    monkeypatch.setattr("nodes.resources.open_registry", with_devices)
    return house


async def _ask(house: House, text: str, **choices):
    async with house.open() as orchestrator:
        result = await orchestrator.ask(text, thread_id="t", context=house.context(**choices))
    assert house.rejected() == []
    return result


def _schemas(heard: Heard) -> int:
    return len(json.dumps(heard.raw["tools"], ensure_ascii=False))


@pytest.mark.parametrize(("window", "tokens"), [(8_000, 3_200), (24_000, 3_600), (1_000_000, 6_000)])
@pytest.mark.usefixtures("house")
async def test_the_schemas_of_eighty_tools_stay_within_their_budget(settle, window, tokens):
    assert sum(len(json.dumps(each.spec())) for each in DEVICES) > 6_000 * CHARS_PER_TOKEN
    house = settle("openai", context_window=window)
    await _ask(house, "Hello")
    heard = house.planner.heard[0]
    assert {*heard.tools} >= CORE - {"web_search"}
    assert (tokens - 300) * CHARS_PER_TOKEN < _schemas(heard) <= tokens * CHARS_PER_TOKEN


async def test_the_tools_that_share_words_with_the_request_are_among_those_shown(house):
    await _ask(house, "Is the sprinkler of the library on, and what of the cellar's boiler?")
    assert {"library_sprinkler", "cellar_boiler"} <= set(house.planner.heard[0].tools)


async def test_few_tools_are_all_shown_and_searching_for_more_is_not_offered(settle):
    house = settle("openai")
    await _ask(house, "Hello")
    assert "find_tools" not in house.planner.heard[0].tools
    assert "read_result" in house.planner.heard[0].tools


def _searching(heard: Heard) -> Reply:
    if not heard.results:
        return Reply(calls=(Call("find_tools", {"query": "windows"}),))
    if len(heard.results) == 1 and "kitchen_window" in heard.tools:
        return Reply(calls=(Call("kitchen_window", {}),))
    return Reply(text="Done.")


async def test_what_is_found_is_shown_and_can_be_called_from_the_next_round_on(house):
    house.planner.brain = _searching
    result = await _ask(house, "Hallo, was ist mit dem Fenster?")
    first, second, third = house.planner.heard
    assert "garage_window" not in first.tools
    assert {f"{room}_window" for room in ROOMS} <= set(second.tools)
    assert list(second.tools) == list(third.tools), "the offer changes only when something is found"
    assert [call["tool"] for call in result.tool_calls] == ["find_tools", "kitchen_window"]
    assert "kitchen_window: Tell how the window of the kitchen stands." in result.tool_calls[0]["result"]
    assert result.tool_calls[1]["result"] == "It is fine."
    assert max(map(_schemas, house.planner.heard)) < MOST_SCHEMAS * CHARS_PER_TOKEN


async def test_the_offer_stays_the_same_while_nothing_is_found(house):
    await _ask(house, 'get_time {} then library_lamp {} then calculate {"expression": "1+1"}')
    offers = [json.dumps(heard.raw["tools"]) for heard in house.planner.heard]
    assert len(offers) == 4
    assert len(set(offers)) == 1


async def test_a_tool_that_is_not_shown_can_be_called_all_the_same(house):
    def knowing(heard: Heard) -> Reply:
        return Reply(text="Done.") if heard.results else Reply(calls=(Call("library_window", {}),))

    house.planner.brain = knowing
    result = await _ask(house, "Hello")
    assert "library_window" not in house.planner.heard[0].tools
    assert result.tool_calls[0]["result"] == "It is fine."
    assert "library_window" in house.planner.heard[1].tools, "what was called is shown from then on"


@pytest.mark.parametrize(
    ("choices", "never"),
    [
        ({"user_role": "user"}, {"open_vault", "aquarium"}),
        ({}, {"aquarium"}),
        ({"tools": ["find_tools", *(each.name for each in DEVICES[:50])]}, {"open_vault", "library_lamp"}),
    ],
)
async def test_nothing_is_found_that_may_not_be_used(house, choices, never):
    house.planner.brain = obedient
    result = await _ask(house, 'find_tools {"query": "lamp"}', **choices)
    shown = {name for heard in house.planner.heard for name in heard.tools}
    told = result.tool_calls[0]["result"]
    assert "_lamp" in told
    assert not never & shown
    assert [name for name in never if name in told] == []
