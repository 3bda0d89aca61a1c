"""Whatever ids a model gives its calls, each is one row of the ledger and one pair for every provider."""

import pytest

from tests.behaviour.crashes.process import check_pairs
from tests.wires.brain import Call, Heard, Reply
from tests.wires.cards import at
from tests.wires.clients import KINDS


def numbered_badly(heard: Heard) -> Reply:
    """Ring three times in one round, under one id and under none; every turn the same."""
    if heard.results or not heard.tools:
        return Reply(text="Rung.")
    return Reply(calls=tuple(Call("ring_bell", {"times": n}, id=i) for n, i in ((1, "a"), (2, "a"), (3, ""))))


@pytest.mark.parametrize("kind", KINDS)
async def test_repeated_empty_and_used_call_ids_reach_no_model_and_no_ledger(furnish, open_wire, kind):
    house = furnish({"planner": at(open_wire(kind, brain=numbered_badly))})
    async with house.open() as orchestrator:
        context = house.context(confirm_allow=["ring_bell"])
        for _ in range(2):
            result = await orchestrator.ask("ring", thread_id="t1", context=context)
            assert [call["status"] for call in result.tool_calls] == ["executed"] * 3
        rows = await orchestrator.ledger.audit(thread="t1")
        await check_pairs(orchestrator)

    ids = [row["call_id"] for row in rows]
    assert len(ids) == len(set(ids)) == 6
    assert all(ids)
    assert sorted(house.rung()) == sorted(["1 hall", "2 hall", "3 hall"] * 2)
    assert house.rejected() == []
