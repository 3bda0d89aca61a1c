"""At a limit the turn still ends in an answer."""

import pytest

from tests.graphs.household import obedient
from tests.wires.brain import Call, Heard, Reply
from tests.wires.cards import at
from tests.wires.clients import OpenWire

ENDLESS = Reply(text="More.", calls=(Call("read_file", {"path": "long.txt"}),))
PLACES = [("gemini", "two-brain"), ("openai", "single"), ("anthropic", "single"), ("anthropic", "two-brain")]


def _restless(heard: Heard) -> Reply:
    """Call a tool for as long as there are any."""
    return ENDLESS if heard.tools else obedient(heard)


def _restless_and_lost(heard: Heard) -> Reply:
    """Call a tool for as long as there are any, and fail without."""
    return ENDLESS if heard.tools else Reply(status=500, error="gone")


@pytest.fixture
def house(open_wire: OpenWire, furnish):
    """Furnish a planner of the test's own kind and brain, and a writer."""

    def furnished(kind, brain, more="", **fields):
        cards = {"planner": at(open_wire(kind, brain=brain), **fields)}
        made = furnish({**cards, "writer": at(open_wire("openai", brain=obedient))}, more=more)
        made.workspace.mkdir(parents=True)
        (made.workspace / "long.txt").write_text("z" * 5_000)
        return made

    return furnished


@pytest.mark.parametrize(("kind", "path"), PLACES)
async def test_at_the_limit_of_rounds_one_last_call_without_tools_concludes(house, kind, path):
    made = house(kind, _restless)
    async with made.open() as orchestrator:
        context = made.context(path=path, max_rounds=2)
        result = await orchestrator.ask("Go on for ever", thread_id="t", context=context)
        await orchestrator.ask("And now?", thread_id="t", context=context)
    assert result.stop_reason == "rounds"
    assert [call["status"] for call in result.tool_calls] == ["executed", "executed"]
    assert "Go on for ever" in result.response
    assert [bool(heard.tools) for heard in made.planner.heard[:3]] == [True, True, False]
    assert "zzz" in made.planner.heard[2].turns[-1].text, "it finishes from what was gathered"
    assert made.rejected() == []


@pytest.mark.parametrize(("kind", "path"), PLACES)
async def test_where_the_last_call_fails_the_answer_is_a_plain_list(house, kind, path):
    made = house(kind, _restless_and_lost)
    async with made.open() as orchestrator:
        context = made.context(path=path, max_rounds=2, respond=False)
        result = await orchestrator.ask("Go on for ever", context=context)
    assert result.stop_reason == "rounds"
    line = f'- read_file({{"path": "long.txt"}}): executed: {"z" * 500}…'
    assert result.response.endswith(f"{line}\n{line}")
    assert made.rejected() == []


async def test_where_the_last_call_fails_the_responder_still_writes_from_the_list(house):
    made = house("gemini", _restless_and_lost)
    async with made.open() as orchestrator:
        context = made.context(path="two-brain", max_rounds=2)
        result = await orchestrator.ask("Go on for ever", context=context)
    assert (result.backend, result.stop_reason) == ("writer", "rounds")
    assert "What was done until then" in made.writer.heard[-1].turns[-1].text


@pytest.mark.parametrize(
    ("context", "card", "limit"), [(1, 3, 3), (3, 1, 3), (3, 3, 1), (None, None, 1), (None, 1, 3)]
)
async def test_the_smallest_limit_of_rounds_holds(house, context, card, limit):
    made = house("openai", _restless, more=f"[limits]\nmax_rounds = {limit}", max_rounds=card)
    async with made.open() as orchestrator:
        result = await orchestrator.ask("Go", context=made.context(path="single", max_rounds=context))
    assert len(result.tool_calls) == 1


@pytest.mark.parametrize(("kind", "path"), PLACES)
async def test_a_turn_resumed_at_its_limit_still_gets_a_call_to_conclude(house, kind, path):
    made = house(kind, obedient)
    request = 'ring_bell {"times": 1} then ring_bell {"times": 2}'
    async with made.open() as orchestrator:
        context = made.context(path=path, max_rounds=1)
        assert (await orchestrator.ask(request, thread_id="t", context=context)).pending
        result = await orchestrator.resume("t", answer=True, context=context)
    assert (result.stop_reason, result.pending) == ("rounds", None)
    assert made.rung() == ["1 hall"]
    assert not made.planner.heard[-1].tools
    assert "Rang 1 times" in made.planner.heard[-1].turns[-1].text
    assert result.response
    assert made.rejected() == []


async def test_rounds_used_before_a_pause_count_after_it(house):
    made = house("openai", obedient)
    request = 'get_time {} then ring_bell {"times": 1} then get_time {} then get_time {}'
    async with made.open() as orchestrator:
        context = made.context(path="single", max_rounds=3)
        assert (await orchestrator.ask(request, thread_id="t", context=context)).pending
        result = await orchestrator.resume("t", answer=True, context=context)
    assert [call["tool"] for call in result.tool_calls] == ["get_time", "ring_bell", "get_time"]
    assert result.stop_reason == "rounds"


@pytest.mark.parametrize(
    ("choice", "reason"), [({"max_tool_calls": 2}, "tool_calls"), ({"max_tokens": 200}, "tokens")]
)
async def test_other_budgets_end_the_turn_in_an_answer_too(house, choice, reason):
    made = house("openai", _restless)
    async with made.open() as orchestrator:
        result = await orchestrator.ask("Go", context=made.context(path="single", **choice))
    assert (result.stop_reason, len(result.tool_calls)) == (reason, 2)
    assert result.response
