"""The same conversation on every wire, on both paths, streamed and whole, in process.

The suite streams every second layout, so that each wire's planner is heard both ways; `--prove` tries all.
"""

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from graphs.result import Result
from graphs.session import Orchestrator
from tests.behaviour.household import LAYOUTS, House

SAFE = 'get_time {"timezone": "Asia/Tokyo"}'
MIXED = 'calculate {"expression": "6*7"} & ring_bell {"times": 3} & list_files {"path": "."}'


def _ways() -> Iterator[Any]:
    for number, (layout, how) in enumerate(itertools.product(LAYOUTS, ("streamed", "whole"))):
        is_sampled = number % 4 in {0, 3}
        yield pytest.param(f"{layout} {how}", marks=[] if is_sampled else pytest.mark.prove(sampled=False))


@pytest.fixture(params=_ways())
def house(request, settle) -> House:
    layout, how = request.param.split()
    return settle(layout, streaming=how == "streamed")


def _statuses(result: Result) -> dict[str, str]:
    return {call["tool"]: call["status"] for call in result.tool_calls}


async def _until_the_gate(house: House, orchestrator: Orchestrator, request: str = MIXED) -> Result:
    first = await orchestrator.ask(SAFE, thread_id="t", context=house.context())
    assert (first.pending, first.stop_reason) == (None, "answered")
    assert _statuses(first) == {"get_time": "executed"}
    return await orchestrator.ask(request, thread_id="t", context=house.context())


async def _decide(house: House, orchestrator: Orchestrator, *decisions: dict[str, Any]) -> Result:
    return await orchestrator.resume("t", {"decisions": list(decisions)}, context=house.context())


async def test_a_mixed_round_waits_with_its_safe_results_and_goes_on_once_approved(house: House):
    async with house.open() as orchestrator:
        waiting = await _until_the_gate(house, orchestrator)
        assert waiting.pending is not None
        assert [action["name"] for action in waiting.pending["action_requests"]] == ["ring_bell"]
        assert waiting.pending["action_requests"][0]["args"] == {"times": 3}
        assert waiting.pending["message"].startswith("Answer to: ")
        assert _statuses(waiting) == {"calculate": "executed", "list_files": "executed"}
        assert waiting.stop_reason is None
        assert house.rung() == []

        unclear = await orchestrator.resume("t", "perhaps", context=house.context())
        assert "perhaps" in unclear.pending["problem"]
        assert house.rung() == []

        done = await orchestrator.resume("t", True, context=house.context())
        assert [(c["tool"], c["status"]) for c in done.tool_calls] == [
            ("calculate", "executed"),
            ("ring_bell", "executed"),
            ("list_files", "executed"),
        ]
        assert house.rung() == ["3 hall"]
        assert (done.pending, done.stop_reason) == (None, "answered")
        assert done.backend == ("writer" if "writer" in house.wires else "planner")
        assert "42" in house.planner.said[-1].text + done.response

        after = await orchestrator.ask("What was that about?", thread_id="t", context=house.context())
        assert after.response == "Answer to: What was that about?"
        assert after.tool_calls == []
        shown = str(house.writer.heard[-1].raw)
        assert "6*7" in shown, "the next turn knows the request before it"
        audit = await orchestrator.ledger.audit(thread="t")
        assert sorted((row["tool"], row["status"]) for row in audit) == [
            ("calculate", "executed"),
            ("get_time", "executed"),
            ("list_files", "executed"),
            ("ring_bell", "executed"),
        ]
    assert house.rejected() == []


async def test_a_rejection_with_its_reason_reaches_the_planner_and_nothing_happens(house: House):
    async with house.open() as orchestrator:
        await _until_the_gate(house, orchestrator)
        done = await _decide(house, orchestrator, {"type": "reject", "message": "the baby sleeps"})
        assert _statuses(done) == {"calculate": "executed", "ring_bell": "denied", "list_files": "executed"}
        told = next(result.text for result in house.planner.heard[-1].results if "denied" in result.text)
        assert told == "Action denied by user: the baby sleeps"
        assert house.rung() == []
        [row] = [row for row in await orchestrator.ledger.audit(thread="t") if row["tool"] == "ring_bell"]
        assert (row["decision"], row["decided_by"]) == ("rejected", "local")
        await orchestrator.ask("And now?", thread_id="t", context=house.context())
    assert house.rejected() == []


async def test_an_edit_runs_the_edited_arguments_and_the_model_learns_of_it(house: House):
    async with house.open() as orchestrator:
        await _until_the_gate(house, orchestrator)
        edit = {"name": "ring_bell", "args": {"times": "5", "room": "kitchen"}}
        done = await _decide(house, orchestrator, {"type": "edit", "edited_action": edit})
        assert house.rung() == ["5 kitchen"]
        rang = next(call for call in done.tool_calls if call["tool"] == "ring_bell")
        assert rang["args"]["room"] == "kitchen"
        told = next(r.text for r in house.planner.heard[-1].results if r.name == "ring_bell")
        assert "The person changed the arguments" in told
        assert "Rang 5 times in the kitchen." in told
        await orchestrator.ask("And now?", thread_id="t", context=house.context())
    assert house.rejected() == []


async def test_calls_are_decided_one_by_one_and_each_runs_once(house: House):
    request = 'ring_bell {"times": 1} & ring_bell {"times": 2} & ring_bell {"times": 3} then get_time {}'
    async with house.open() as orchestrator:
        waiting = await _until_the_gate(house, orchestrator, request)
        ids = [action["tool_call_id"] for action in waiting.pending["action_requests"]]
        assert len(set(ids)) == 3
        rest = await _decide(house, orchestrator, {"type": "approve", "tool_call_id": ids[1]})
        assert [a["tool_call_id"] for a in rest.pending["action_requests"]] == [ids[0], ids[2]]
        assert house.rung() == [], "nothing runs before all are decided"
        rest = await _decide(house, orchestrator, {"type": "reject"}, {"type": "dance"})
        assert "dance" in rest.pending["problem"]
        done = await orchestrator.resume("t", "yes", context=house.context())
        assert [call["status"] for call in done.tool_calls] == ["denied", "executed", "executed", "executed"]
        assert sorted(house.rung()) == ["2 hall", "3 hall"]
    assert house.rejected() == []
