"""At a limit the turn still ends in an answer."""

import re
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from nodes.events import Token
from tests.behaviour.household import obedient
from tests.wires.brain import Call, Heard, Reply
from tests.wires.cards import at
from tests.wires.clients import OpenWire

PRICES = "\n".join(f"[models.{n}.price]\ninput = 10.0\noutput = 100.0" for n in ("planner", "writer"))
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
    told, note = result.response.rsplit("\n\n", 1)
    assert told.endswith(f"{line}\n{line}")
    assert note.startswith("Stopped at the limit of 2 rounds")
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
    ("choice", "reason"),
    [
        ({"max_tool_calls": 2}, "tool_calls"),
        ({"max_tokens": 200}, "tokens"),
        ({"max_cost_usd": 0.005}, "cost"),
    ],
)
async def test_other_budgets_end_the_turn_in_an_answer_too(house, choice, reason):
    made = house("openai", _restless, more=PRICES)
    async with made.open() as orchestrator:
        result = await orchestrator.ask("Go", context=made.context(path="single", **choice))
    assert (result.stop_reason, len(result.tool_calls)) == (reason, 2)
    assert result.response


def _wrapped_up(heard: Heard) -> Reply:
    """Say nothing of what happened, whoever asks."""
    return ENDLESS if heard.tools else Reply(text="All is well.")


SAID = (
    "Stopped at the limit of 2 rounds, so something may remain to be done. "
    "Done: read_file. Not allowed: ring_bell. It took"
)
ROUNDS = (Call("read_file", {"path": "long.txt"}), Call("ring_bell", {"times": 1}))


@pytest.mark.parametrize("respond", [True, False])
@pytest.mark.parametrize(("kind", "path"), PLACES)
async def test_at_a_limit_the_answer_says_what_was_done_and_what_it_took_whatever_the_model_says(
    open_wire, furnish, kind, path, respond
):
    def brain(heard):
        return Reply(calls=ROUNDS) if heard.tools and not heard.results else _wrapped_up(heard)

    made = furnish({name: at(open_wire(kind, brain=brain)) for name in ("planner", "writer")}, more=PRICES)
    (made.workspace / "long.txt").parent.mkdir(parents=True)
    (made.workspace / "long.txt").write_text("milk")
    async with made.open() as orchestrator:
        context = made.context(path=path, max_rounds=1, respond=respond, confirmation="template")
        await orchestrator.ask("Go", thread_id="t", context=context)
        told = [event async for event in orchestrator.stream_resume("t", answer=False, context=context)]
    result = told[-1].result
    calls = result.usage["model_calls"]
    note = SAID.replace("2 rounds", "1 round")
    assert result.response == f"All is well.\n\n{note} {calls * 120} tokens, ${calls * 0.003:.4f}."
    assert "".join(event.text for event in told if isinstance(event, Token)).strip() == result.response
    if result.backend == "writer":
        assert f"<stopped>{note.split('.')[0]}.</stopped>" in made.writer.heard[-1].turns[-1].text


async def test_what_nobody_counted_or_priced_is_said_to_be_unknown(house):
    def uncounted(heard):
        return replace(_restless(heard), input_tokens=None)

    made = house("openai", uncounted)
    async with made.open() as orchestrator:
        result = await orchestrator.ask("Go", context=made.context(path="single", max_rounds=1))
    assert re.search(r"It took about [\d,]+ tokens, at a cost that is not known\.$", result.response)


async def test_a_limit_is_named_though_no_model_could_write_the_answer(house, open_wire, furnish):
    cards = {"planner": at(open_wire("gemini", brain=_restless))}
    made = furnish({**cards, "writer": at(open_wire("openai", brain=_restless_and_lost), max_retries=0)})
    async with made.open() as orchestrator:
        result = await orchestrator.ask("Go", context=made.context(max_rounds=1))
    assert result.stop_reason == "model_failed"
    assert "Stopped at the limit of 1 round, " in result.response.rsplit("\n\n", 1)[1]


async def test_a_turn_that_came_to_its_own_end_has_no_note(house):
    made = house("gemini", obedient)
    async with made.open() as orchestrator:
        result = await orchestrator.ask("get_time {}", context=made.context(max_rounds=2))
    assert "Stopped" not in result.response
    assert "<stopped>" not in str(made.writer.heard[-1].raw)


@pytest.fixture
def later(monkeypatch) -> Callable[[float], None]:
    """Return what lets seconds pass: the clock goes on from there."""
    real, ahead = time.time, [0.0]
    monkeypatch.setattr(time, "time", lambda: real() + sum(ahead))
    return ahead.append


async def test_the_time_that_a_person_takes_to_decide_does_not_count(house, later):
    made = house("openai", obedient)
    async with made.open() as orchestrator:
        context = made.context(path="single", deadline_s=60)
        request = 'ring_bell {"times": 1} & ring_bell {"times": 2} then get_time {}'
        [_, second] = (await orchestrator.ask(request, thread_id="t", context=context)).pending[
            "action_requests"
        ]
        later(100)
        one = {"type": "approve", "tool_call_id": second["tool_call_id"]}
        assert (await orchestrator.resume("t", one, context=context)).pending, "one of two is decided"
        later(100)
        result = await orchestrator.resume("t", answer=True, context=context)
    assert (result.stop_reason, len(result.tool_calls)) == ("answered", 3)
    assert sorted(made.rung()) == ["1 hall", "2 hall"]


@pytest.mark.parametrize(("kind", "path"), PLACES)
async def test_what_a_person_approves_runs_though_the_time_is_up_and_then_the_turn_ends(
    house, later, kind, path
):
    def slow(heard):
        if heard.tools and not heard.results:
            later(100)
        return obedient(heard)

    made = house(kind, slow)
    async with made.open() as orchestrator:
        context = made.context(path=path, deadline_s=60)
        request = 'ring_bell {"times": 1} then ring_bell {"times": 2}'
        assert (await orchestrator.ask(request, thread_id="t", context=context)).pending
        result = await orchestrator.resume("t", answer=True, context=context)
    assert (result.stop_reason, made.rung()) == ("deadline", ["1 hall"])
    assert "Stopped at the limit of 60 seconds, " in result.response
    assert "Done: ring_bell." in result.response
