"""What was billed and what was done stands in the ledger as the wires said it, for both brains."""

import pytest

from base.errors import StorageError
from tests.behaviour.household import LAYOUTS, House, obedient
from tests.server.stored import contents
from tests.wires.brain import Reply
from tests.wires.cards import at, key_of
from tests.wires.clients import KINDS, OpenWire

REQUEST = 'calculate {"expression": "6*7"} & ring_bell {"times": 3} then get_time {"timezone": "UTC"}'
COUNTS = ("input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens")


def _said(replies: list[Reply]) -> list[tuple[int | None, ...]]:
    return [tuple(getattr(reply, name) for name in COUNTS) for reply in replies]


def _recorded(rows: list[dict], *roles: str) -> list[tuple[int | None, ...]]:
    return [tuple(row[name] for name in COUNTS) for row in rows if row["role"] in roles]


@pytest.mark.parametrize(
    ("layout", "streaming"), [*((layout, True) for layout in LAYOUTS), *((kind, False) for kind in KINDS)]
)
async def test_every_call_of_both_brains_is_recorded_with_the_counts_of_the_wire(settle, layout, streaming):
    house: House = settle(layout, streaming=streaming)
    async with house.open() as orchestrator:
        await orchestrator.ask(REQUEST, thread_id="t", context=house.context(user="alice"))
        done = await orchestrator.resume("t", answer=True, context=house.context(user="alice"))
        rows = await orchestrator.ledger.usage(thread="t")
        audit = await orchestrator.ledger.audit(thread="t")
        totals = await orchestrator.ledger.usage_totals(by="user")
    two = "writer" in house.wires
    assert _recorded(rows, "orchestrator", "explanation") == _said(house.planner.said)
    assert _recorded(rows, "chat") == (_said(house.writer.said) if two else [])
    assert {(row["user"], row["path"], row["error"]) for row in rows} == {
        ("alice", "two-brain" if two else "single", None)
    }
    sums = {name: sum(row[name] for row in rows) for name in COUNTS}
    assert {name: done.usage[name] for name in COUNTS} == sums
    assert done.usage["model_calls"] == len(rows) == totals[0]["model_calls"]
    assert {row["tool"]: (row["status"], row["user"], row["model"]) for row in audit} == dict.fromkeys(
        ("calculate", "ring_bell", "get_time"), ("executed", "alice", "planner")
    )
    assert {row["turn"] for row in [*rows, *audit]} == {rows[0]["turn"]}


@pytest.mark.parametrize("kind", KINDS)
async def test_plain_chat_is_recorded_too(settle, kind):
    house = settle(kind)
    async with house.open() as orchestrator:
        result = await orchestrator.ask("Hello", context=house.context(path="direct"))
        rows = await orchestrator.ledger.usage()
    assert [(row["path"], row["role"]) for row in rows] == [("direct", "chat")]
    assert _recorded(rows, "chat") == _said(house.planner.said)
    assert result.usage["input_tokens"] == house.planner.said[0].input_tokens


async def test_counts_that_nobody_gave_are_unknown_and_stay_so_in_the_sum(open_wire: OpenWire, furnish):
    silent = Reply(text="Hello.", input_tokens=None)
    house = furnish({"planner": at(open_wire("anthropic", brain=lambda heard: silent))})
    async with house.open() as orchestrator:
        result = await orchestrator.ask("Hello", context=house.context())
        [row] = await orchestrator.ledger.usage()
    assert {row[name] for name in (*COUNTS, "cost_usd")} == {None}
    assert {result.usage[name] for name in (*COUNTS, "cost_usd")} == {None}
    assert result.usage["model_calls"] == 1


@pytest.mark.parametrize("kind", KINDS)
async def test_each_person_speaks_with_a_key_of_their_own(open_wire: OpenWire, furnish, kind):
    wire = open_wire(kind, brain=obedient, key=key_of("alice"))
    users = '[users.alice]\nkeys = { planner = "ALICE_KEY" }'
    house = furnish({"planner": at(wire)}, more=users)
    house = House(house.folder, house.wires, {**house.environ, "ALICE_KEY": key_of("alice")})
    async with house.open() as orchestrator:
        hers = await orchestrator.ask("Hello", context=house.context(path="single", user="alice"))
        other = await orchestrator.ask("Hello", context=house.context(path="single"))
        again = await orchestrator.ask("Hello", context=house.context(path="single", user="alice"))
    assert [hers.stop_reason, other.stop_reason, again.stop_reason] == [
        "answered",
        "model_failed",
        "answered",
    ]
    assert len(wire.rejected) == 1, "the key of the house is not hers"
    assert not any(key_of("alice").encode() in held for _, held in contents(house.folder / "data"))


async def test_a_crash_right_after_a_billed_call_still_shows_it(settle, monkeypatch):
    house = settle("openai")
    async with house.open() as orchestrator:
        saver = orchestrator.graph.checkpointer
        put = type(saver).aput_writes

        async def power_cut(self, config, writes, *args, **kwargs):
            if any(channel == "rounds" and value for channel, value in writes):
                raise StorageError("the power is gone")
            return await put(self, config, writes, *args, **kwargs)

        monkeypatch.setattr(type(saver), "aput_writes", power_cut)
        with pytest.raises(StorageError):
            await orchestrator.ask('calculate {"expression": "6*7"}', thread_id="t", context=house.context())
    async with house.open() as orchestrator:
        (row,) = await orchestrator.ledger.usage(thread="t")
        state = await orchestrator.graph.aget_state({"configurable": {"thread_id": "t"}})
    assert _recorded([row], "orchestrator") == _said(house.planner.said)
    assert state.values.get("rounds", 0) == 0, "the conversation never saw the call"
