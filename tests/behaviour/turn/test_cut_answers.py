"""An answer that its model had to stop within is gone on with once, and never passes for a whole one."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from graphs.session import Orchestrator
from graphs.stream import Event
from nodes.context import Context
from nodes.events import Token
from tests.behaviour.household import House
from tests.wires.brain import Call, Heard, Kind, Reply
from tests.wires.cards import at
from tests.wires.clients import KINDS, OpenWire

HALF, REST = "Once upon a time there was", " a king who slept."
NOTE = "Cut off: model 'planner' stopped at the most that it says at once. Ask it to go on."
WORDS: Mapping[Kind, Sequence[str]] = {
    "openai": (
        "length",
        "max_tokens",  # Bedrock, behind gateways
        "MAX_TOKENS",  # Cohere
        "model_length",  # Mistral
        "insufficient_system_resource",  # DeepSeek
        "token_limit",  # watsonx
        "maxPredictedTokensReached",  # LM Studio
    ),
    "gemini": ("MAX_TOKENS",),
    "anthropic": ("max_tokens", "model_context_window_exceeded"),
}
PATHS = ("single", "two-brain", "direct")
CUT = {"openai": "length", "gemini": "MAX_TOKENS", "anthropic": "max_tokens"}
STREAMS = pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])


def _is_further(heard: Heard) -> bool:
    return "Your answer was cut off" in heard.turns[-1].text and heard.turns[-2].text == HALF


def _telling(finish: str, rest: Reply) -> Callable[[Heard], Reply]:
    """Tell half of it, and the rest when asked to go on."""
    return lambda heard: rest if _is_further(heard) else Reply(HALF, finish=finish)


async def _told(house: House, *, thread: str = "t", **choices: Any) -> list[Event]:
    async with house.open() as orchestrator:
        return await _heard(orchestrator, house.context(**choices), thread)


async def _heard(orchestrator: Orchestrator, context: Context, thread: str) -> list[Event]:
    return [e async for e in orchestrator.stream("Tell me.", thread_id=thread, context=context)]


def _spoken(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, Token))


@STREAMS
@pytest.mark.parametrize("kind", KINDS)
async def test_an_answer_that_its_models_own_limit_cut_off_is_gone_on_with(
    open_wire: OpenWire, furnish, kind: Kind, stream
):
    wire = open_wire(kind)
    house = furnish({"planner": at(wire, streaming=stream)})
    async with house.open() as orchestrator:
        for finish in WORDS[kind]:
            wire.brain = _telling(finish, Reply(REST))
            events = await _heard(orchestrator, house.context(), finish)
            result = events[-1].result
            assert (finish, result.response, _spoken(events)) == (finish, HALF + REST, HALF + REST)
            assert (result.stop_reason, result.usage["model_calls"]) == ("answered", 2)
    assert wire.rejected == []


@STREAMS
@pytest.mark.parametrize("kind", KINDS)
async def test_a_person_is_told_that_an_answer_is_cut_off_still(
    open_wire: OpenWire, furnish, kind: Kind, stream
):
    wire = open_wire(kind, brain=_telling(CUT[kind], Reply(REST, finish=CUT[kind])))
    house = furnish({"planner": at(wire, streaming=stream)})
    async with house.open() as orchestrator:
        for path in PATHS:
            context = house.context(path=path, responder="planner")
            events = await _heard(orchestrator, context, path)
            result = events[-1].result
            assert (path, result.response) == (path, f"{HALF}{REST}\n\n{NOTE}")
            assert (_spoken(events), result.stop_reason) == (result.response, "truncated")


@pytest.mark.parametrize("kind", KINDS)
async def test_where_the_limit_is_ours_the_person_reads_which_and_no_more_is_asked_for(
    open_wire: OpenWire, furnish, kind: Kind
):
    wire = open_wire(kind, brain=_telling(CUT[kind], Reply(REST)))
    events = await _told(furnish({"planner": at(wire, max_output_tokens=2_000)}))
    told = "Cut off: model 'planner' stopped at max_output_tokens = 2,000. Ask it to go on."
    assert events[-1].result.response == _spoken(events) == f"{HALF}\n\n{told}"
    assert (events[-1].result.stop_reason, len(wire.heard)) == ("truncated", 1)


@pytest.mark.parametrize(
    "rest",
    [
        Reply(status=500, error="gone"),
        Reply(),
        Reply("A king", cut=True),
        Reply(calls=(Call("calculate", {"expression": "6*7"}),)),
    ],
    ids=["failed", "blank", "broken off", "a call"],
)
async def test_where_nothing_comes_of_going_on_what_came_is_told_to_be_cut_off(
    open_wire: OpenWire, furnish, rest
):
    wire = open_wire("openai", brain=_telling("length", rest))
    events = await _told(furnish({"planner": at(wire)}))
    assert events[-1].result.response == _spoken(events) == f"{HALF}\n\n{NOTE}"
    assert (events[-1].result.stop_reason, events[-1].result.tool_calls) == ("truncated", [])
    assert len(wire.heard) == 2


async def test_what_a_continuation_repeats_stands_there_once(open_wire: OpenWire, furnish):
    wire = open_wire("openai", brain=_telling("length", Reply(f"{HALF[-17:]}{REST}")))
    events = await _told(furnish({"planner": at(wire)}))
    assert events[-1].result.response == _spoken(events) == HALF + REST


async def test_the_model_that_writes_is_told_that_a_summary_is_cut_off(open_wire: OpenWire, furnish):
    planner = open_wire("gemini", brain=lambda heard: Reply(HALF, finish="MAX_TOKENS"))
    writer = open_wire("anthropic", brain=lambda heard: Reply("It goes on."))
    house = furnish({"planner": at(planner), "writer": at(writer)})
    result = (await _told(house))[-1].result
    assert (result.response, result.stop_reason) == ("It goes on.", "answered")
    assert "(This summary is cut off: there was more to tell.)\n</summary>" in writer.heard[-1].turns[-1].text


async def test_a_limit_of_the_turn_is_told_beside_the_cut(open_wire: OpenWire, furnish):
    def brain(heard: Heard) -> Reply:
        return Reply(calls=(Call("get_time", {}),)) if heard.tools else Reply(HALF, finish="length")

    house = furnish({"planner": at(open_wire("openai", brain=brain), max_output_tokens=50)})
    result = (await _told(house, max_rounds=1))[-1].result
    assert result.stop_reason == "rounds"
    *_, note = result.response.split("\n\n")
    assert note.startswith("Cut off: model 'planner' stopped at max_output_tokens = 50.")
    assert "Stopped at the limit of 1 round" in note


async def test_the_plain_graph_says_so_too(open_wire: OpenWire, furnish):
    wire = open_wire("openai", brain=_telling("length", Reply(REST, finish="length")))
    async with furnish({"planner": at(wire)}).open() as orchestrator:
        said = {"messages": [("user", "Tell me.")]}
        done = await orchestrator.graph.ainvoke(said, orchestrator.config("t"))
    assert (done["stop_reason"], done["messages"][-1].text) == ("truncated", done["response"])
