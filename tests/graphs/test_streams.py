"""What a watcher is told while a turn runs, on every wire."""

import json
from collections import Counter
from typing import Any

import pytest

from graphs.session import Orchestrator
from graphs.stream import Confirmation, Done, Event
from nodes.events import Restarted, Token, ToolFinished, ToolStarted, UsageReported
from tests.behaviour.household import LAYOUTS, House, obedient
from tests.wires.brain import Heard, Kind, Reply
from tests.wires.cards import at
from tests.wires.clients import KINDS, OpenWire

REQUEST = 'calculate {"expression": "6*7"} & get_time {} then ring_bell {"times": 3}'


def _spoken(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, Token))


@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize("layout", LAYOUTS)
async def test_the_person_reads_each_word_once_and_none_that_was_not_for_them(settle, layout, streaming):
    house: House = settle(layout, streaming=streaming)
    async with house.open() as orchestrator:
        asked = [e async for e in orchestrator.stream(REQUEST, thread_id="t", context=house.context())]
        resumed = [e async for e in orchestrator.stream_resume("t", answer=True, context=house.context())]
        rows = await orchestrator.ledger.usage()
    result = resumed[-1].result
    alone = "writer" not in house.wires
    assert _spoken(asked) == ("One moment.\n\nOne moment." if alone else "")
    assert _spoken(resumed) == result.response
    assert (len([e for e in resumed if isinstance(e, Token)]) > 1) is streaming
    assert isinstance(asked[-2], Confirmation)
    assert asked[-2].request == asked[-1].result.pending
    kinds = Counter(type(event) for event in asked + resumed)
    assert (kinds[ToolStarted], kinds[ToolFinished], kinds[Done]) == (3, 3, 2)
    assert kinds[UsageReported] == len(rows)
    assert house.rejected() == []


def _breaks_off_once_it_has_results(heard: Heard) -> Reply:
    return Reply(text="Found: this breaks off.", cut=True) if heard.results else obedient(heard)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_watcher_of_an_answer_that_broke_off_is_told_that_it_begins_anew(
    open_wire: OpenWire, furnish, kind: Kind
):
    brains = (_breaks_off_once_it_has_results, obedient)
    first, second = (at(open_wire(kind, brain=brain)) for brain in brains)
    house = furnish({"planner": first, "spare": second}, {"orchestrator": ["planner", "spare"]})
    async with house.open() as orchestrator:
        context = house.context(path="single")
        events = [e async for e in orchestrator.stream('calculate {"expression": "6*7"}', context=context)]
    [at_restart] = [i for i, event in enumerate(events) if isinstance(event, Restarted)]
    assert events[at_restart] == Restarted("planner", "orchestrator")
    finished = next(i for i, event in enumerate(events) if isinstance(event, ToolFinished))
    assert _spoken(events[:finished]) == "One moment."
    assert _spoken(events[finished:at_restart]).startswith("\n\nFound:")
    assert _spoken(events[at_restart:]) == f"\n\n{events[-1].result.response}"
    assert events[-1].result.response.startswith("Found: 42\n\nModel 'spare' answered")


async def test_a_call_that_was_written_as_text_is_taken_back_from_the_watcher_and_run(
    open_wire: OpenWire, furnish
):
    spelled = '<tool_call>{"name": "calculate", "arguments": {"expression": "6*7"}}</tool_call>'

    def spells(heard: Heard) -> Reply:
        return obedient(heard) if heard.results else Reply(text=spelled)

    house = furnish({"planner": at(open_wire("openai", brain=spells))})
    async with house.open() as orchestrator:
        events = [e async for e in orchestrator.stream("What is 6*7?", context=house.context())]
        config = {"configurable": {"thread_id": events[-1].result.thread_id}}
        values = (await orchestrator.graph.aget_state(config)).values
    [at_restart] = [i for i, event in enumerate(events) if isinstance(event, Restarted)]
    assert _spoken(events[:at_restart]) == spelled
    assert _spoken(events[at_restart:]).strip() == events[-1].result.response == "Found: 42"
    assert "tool_call>" not in "".join(message.text for message in values["messages"])
    assert house.rejected() == []


@pytest.mark.parametrize(
    ("path", "failure"),
    [("single", Reply(status=500, error="gone")), ("two-brain", Reply(text="Found", cut=True))],
)
async def test_no_watcher_is_told_of_a_failure_of_which_they_read_nothing(
    open_wire: OpenWire, furnish, path, failure
):
    brains = (lambda heard: failure if heard.results else obedient(heard), obedient)
    first, second = (at(open_wire("openai", brain=brain)) for brain in brains)
    house = furnish({"planner": first, "spare": second}, {"orchestrator": ["planner", "spare"]})
    async with house.open() as orchestrator:
        context = house.context(path=path, responder="spare")
        events = [e async for e in orchestrator.stream('calculate {"expression": "6*7"}', context=context)]
    assert [event for event in events if isinstance(event, Restarted)] == []
    assert events[-1].result.backend == "spare"


@pytest.mark.parametrize("layout", LAYOUTS)
async def test_a_turn_that_is_heard_stores_the_messages_that_an_unheard_one_does(settle, layout):
    house: House = settle(layout)
    request = 'calculate {"expression": "6*7"} & calculate {"expression": "8*8"} then list_files {}'
    async with house.open() as orchestrator:
        events = [e async for e in orchestrator.stream(request, thread_id="heard", context=house.context())]
        await orchestrator.ask(request, thread_id="unheard", context=house.context())
        heard, unheard = [await _stored(orchestrator, thread) for thread in ("heard", "unheard")]
    assert any(isinstance(event, Token) for event in events)
    assert heard == unheard
    assert len(heard) == 7


async def _stored(orchestrator: Orchestrator, thread: str) -> list[dict[str, Any]]:
    """Return a thread's messages without what is each one's own: ids."""
    values = (await orchestrator.graph.aget_state({"configurable": {"thread_id": thread}})).values
    calls = [call["id"] for m in values["messages"] for call in getattr(m, "tool_calls", ())]
    messages = [message.model_dump(exclude={"id"}) for message in values["messages"]]
    text = json.dumps(messages)
    for number, call_id in enumerate(calls):
        text = text.replace(call_id, f"call {number}")
    return json.loads(text)
