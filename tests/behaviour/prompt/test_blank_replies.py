"""A planner that says nothing, and calls it a success: asked once more with a word on it, then the next one.

Its silence is never taken for "no tools needed", nor for "done" after results: a gateway says the same over a
model that failed, and a local server over a call that it could not read.
"""

from dataclasses import replace

import pytest

from tests.behaviour.household import House, obedient
from tests.behaviour.invisible import INVISIBLE, VISIBLE
from tests.wires.brain import Brain, Heard, Reply
from tests.wires.cards import at
from tests.wires.clients import KINDS, OpenWire

RING = 'ring_bell {"times": 2}'


def _asked_again(heard: Heard) -> bool:
    return "was blank" in str(heard.raw)


def _silent(rounds: int, *, heals: bool) -> Brain:
    """Say nothing after so many results; where it heals, only until it is told of it."""

    def brain(heard: Heard) -> Reply:
        is_struck = heard.tools and len(heard.results) == rounds
        if is_struck and not (heals and _asked_again(heard)):
            return Reply()
        told = tuple(replace(turn, text=turn.text.split("\n\n(Your reply")[0]) for turn in heard.turns)
        return obedient(replace(heard, turns=told))

    return brain


async def _ask(house: House, request: str, **choices):
    async with house.open() as orchestrator:
        context = house.context(confirm_allow=["ring_bell"], **choices)
        result = await orchestrator.ask(request, context=context)
    assert house.rejected() == []
    return result


@pytest.fixture(autouse=True)
def at_once(monkeypatch) -> None:
    """Make every backoff of ours end at once."""
    monkeypatch.setattr("models.call.random.uniform", lambda least, most: 0.0)


@pytest.mark.parametrize("rounds", [0, 1], ids=["at first", "after results"])
@pytest.mark.parametrize("path", ["two-brain", "single"])
@pytest.mark.parametrize("kind", KINDS)
async def test_a_planner_that_says_nothing_is_told_so_and_goes_on(
    open_wire: OpenWire, furnish, kind, path, rounds
):
    planner = at(open_wire(kind, brain=_silent(rounds, heals=True)), max_retries=1)
    house = furnish({"planner": planner, "writer": at(open_wire("openai", brain=obedient))})
    result = await _ask(house, RING, path=path)
    assert (result.stop_reason, [call["status"] for call in result.tool_calls]) == ("answered", ["executed"])
    assert house.rung() == ["2 hall"]
    assert [_asked_again(heard) for heard in house.planner.heard].count(True) == 1


@pytest.mark.parametrize("rounds", [0, 1], ids=["at first", "after results"])
async def test_where_it_says_nothing_again_the_next_planner_goes_on(open_wire: OpenWire, furnish, rounds):
    cards = {"planner": at(open_wire("openai", brain=_silent(rounds, heals=False)), max_retries=1)}
    cards |= {"spare": at(open_wire("anthropic", brain=obedient))}
    cards |= {"writer": at(open_wire("gemini", brain=obedient))}
    house = furnish(cards, {"orchestrator": ["planner", "spare"]})
    result = await _ask(house, RING)
    assert (result.stop_reason, result.summary) == ("answered", "Found: Rang 2 times in the hall.")
    assert (house.rung(), len(house.planner.heard)) == (["2 hall"], 3)


@pytest.mark.parametrize("kind", KINDS)
async def test_where_no_planner_says_anything_the_person_is_told_that_and_no_writer_makes_one_up(
    open_wire: OpenWire, furnish, kind
):
    planner = at(open_wire(kind, brain=_silent(0, heals=False)), max_retries=1)
    house = furnish({"planner": planner, "writer": at(open_wire("openai", brain=obedient))})
    result = await _ask(house, RING)
    assert (result.stop_reason, house.rung(), house.writer.heard) == ("model_failed", [], [])
    assert "it gave a blank answer" in result.response


@pytest.mark.parametrize("kind", KINDS)
async def test_where_no_planner_says_anything_after_results_the_writer_reads_them_and_why_it_was_left_there(
    open_wire: OpenWire, furnish, kind
):
    planner = at(open_wire(kind, brain=_silent(1, heals=False)), max_retries=1)
    writer = at(open_wire("openai", brain=lambda heard: Reply(text="The bell rang twice.")))
    house = furnish({"planner": planner, "writer": writer})
    result = await _ask(house, RING)
    assert (result.stop_reason, result.response) == ("model_failed", "The bell rang twice.")
    assert house.rung() == ["2 hall"]
    told = house.writer.heard[-1].turns[-1].text
    assert "Rang 2 times in the hall." in told
    assert "it gave a blank answer" in told


@pytest.mark.parametrize("text", INVISIBLE.values(), ids=INVISIBLE)
async def test_an_answer_that_shows_nothing_is_none(open_wire: OpenWire, furnish, text):
    def brain(heard: Heard) -> Reply:
        return Reply("Now it shows." if _asked_again(heard) else text)

    house = furnish({"writer": at(open_wire("openai", brain=brain), max_retries=1)})
    result = await _ask(house, "Hello", path="direct")
    assert (result.stop_reason, result.response) == ("answered", "Now it shows.")


@pytest.mark.parametrize("text", VISIBLE.values(), ids=VISIBLE)
async def test_a_message_and_an_answer_of_such_characters_that_show_something_stay_as_they_are(
    open_wire: OpenWire, furnish, text
):
    wire = open_wire("openai", brain=lambda heard: Reply(heard.request))
    house = furnish({"writer": at(wire)})
    assert (await _ask(house, text, path="direct")).response == text
    assert len(wire.heard) == 1
