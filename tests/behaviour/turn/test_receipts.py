"""What really happened is told by the machine, beside whatever a model says of it."""

import pytest

from nodes.events import ToolFinished

MIXED = 'calculate {"expression": "6*7"} & ring_bell {"times": 1} & read_file {"path": "lost.txt"}'
BECAME = {"calculate": "executed", "ring_bell": "denied", "read_file": "failed"}
SUPERSEDED = "Not executed: superseded by a newer message."

each_path = pytest.mark.parametrize("layout", ["gemini+anthropic", "openai+gemini", "openai", "anthropic"])


def _statuses(calls):
    return {call["tool"]: call["status"] for call in calls}


@each_path
async def test_each_call_has_a_receipt_and_the_writing_model_reads_what_became_of_it(settle, layout):
    house = settle(layout)
    async with house.open() as orchestrator:
        waiting = await orchestrator.ask(MIXED, thread_id="t", context=house.context())
        assert _statuses(waiting.receipts) == {"calculate": "executed", "read_file": "failed"}
        result = await orchestrator.resume("t", answer=False, context=house.context())
    assert _statuses(result.receipts) == _statuses(result.tool_calls) == BECAME
    assert [receipt["call_id"] for receipt in result.receipts] == [c["call_id"] for c in result.tool_calls]
    told = house.writer.heard[-1].turns[-1]
    if "writer" in house.wires:
        assert all(f'<call tool="{tool}" status="{status}">' in told.text for tool, status in BECAME.items())
    assert house.rejected() == []


async def test_what_came_too_late_has_a_receipt_that_says_so(settle):
    house = settle()
    async with house.open() as orchestrator:
        context = house.context(confirm_ttl_s=1e-6)
        await orchestrator.ask('ring_bell {"times": 1}', thread_id="t", context=context)
        result = await orchestrator.resume("t", answer=True, context=context)
    assert _statuses(result.receipts) == {"ring_bell": "expired"}
    assert '<call tool="ring_bell" status="expired">' in house.writer.heard[-1].turns[-1].text
    assert house.rung() == []


@each_path
async def test_of_what_waited_when_the_person_went_on_the_new_turn_tells_that_it_was_not_done(settle, layout):
    house = settle(layout)
    async with house.open() as orchestrator:
        await orchestrator.ask(MIXED, thread_id="t", context=house.context())
        request = 'calculate {"expression": "1+1"}'
        stream = orchestrator.stream(request, thread_id="t", context=house.context())
        events = [event async for event in stream]
        after = await orchestrator.ask("Hello", thread_id="t", context=house.context())
    result = events[-1].result
    told = [(receipt["tool"], receipt["status"], receipt["text"]) for receipt in result.receipts]
    assert told == [("ring_bell", "superseded", SUPERSEDED), ("calculate", "executed", "2")]
    assert _statuses(result.tool_calls) == {"calculate": "executed"}
    shown = [(e.tool, e.status, e.result) for e in events if isinstance(e, ToolFinished)]
    assert shown == told
    became = "(What it called for: calculate: executed, ring_bell: superseded, read_file: failed.)"
    assert all(became in str(wire.heard[-1].raw) for wire in house.wires.values())
    assert after.receipts == []
    assert house.rung() == []
    assert house.rejected() == []


async def test_plain_chat_that_leaves_a_call_waiting_tells_that_too(settle):
    house = settle()
    async with house.open() as orchestrator:
        await orchestrator.ask('ring_bell {"times": 1}', thread_id="t", context=house.context())
        result = await orchestrator.ask("Hello", thread_id="t", context=house.context(path="direct"))
    assert _statuses(result.receipts) == {"ring_bell": "superseded"}
    assert result.tool_calls == []


async def test_what_a_turn_had_done_that_was_cut_short_is_told_by_the_next(settle):
    house = settle("openai")
    async with house.open() as orchestrator:
        context = house.context(confirm_allow=["ring_bell"])
        events = orchestrator.stream(
            'ring_bell {"times": 2} then get_time {}', thread_id="t", context=context
        )
        async for event in events:
            if isinstance(event, ToolFinished):
                await events.aclose()
                break
        result = await orchestrator.ask("Hello", thread_id="t", context=context)
    assert [(r["tool"], r["status"]) for r in result.receipts] == [("ring_bell", "executed")]
    assert (result.tool_calls, house.rung()) == ([], ["2 hall"])
    assert "(What it called for: ring_bell: executed.)" in str(house.planner.heard[-1].raw)
