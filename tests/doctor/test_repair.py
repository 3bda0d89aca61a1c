"""A damaged thread is explained in one sentence, repaired without running anything, and talked on in."""

import sqlite3
from contextlib import closing

import pytest
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from base.errors import RequestError, UnknownThreadError
from doctor.check import check_all
from doctor.diagnose import diagnose
from doctor.repair import repair
from graphs.session import Orchestrator
from nodes.events import ToolStarted
from storage.serializer import StrictSerializer
from tests.behaviour.crashes.power import cut_short
from tests.behaviour.crashes.process import killed, statuses
from tests.behaviour.household import House
from tests.behaviour.test_bad_input import check_clear

RING = 'ring_bell {"times": 1} then read_file {"path": "a.txt"}'
RUBBISH = ("msgpack", b"\xc1 rubbish")


def change(house: House, statement: str, *values) -> int:
    """Change rows of the checkpoints, and return how many."""
    with closing(sqlite3.connect(house.folder / "data" / "checkpoints.db")) as database, database:
        return database.execute(statement, values).rowcount


def spoil(house: House, where: str) -> None:
    changed = change(house, f"UPDATE checkpoints SET type = ?, checkpoint = ? WHERE {where}", *RUBBISH)
    assert changed >= 1


LAST_FIRST = "WHERE thread_id = 't1' ORDER BY checkpoint_id DESC"
NEWEST = f"checkpoint_id = (SELECT checkpoint_id FROM checkpoints {LAST_FIRST} LIMIT 1)"
MIDDLE = f"checkpoint_id = (SELECT checkpoint_id FROM checkpoints {LAST_FIRST} LIMIT 1 OFFSET 3)"


def newest(house: House) -> None:
    spoil(house, NEWEST)


def newest_two(house: House) -> None:
    spoil(house, f"checkpoint_id IN (SELECT checkpoint_id FROM checkpoints {LAST_FIRST} LIMIT 2)")


def middle(house: House) -> None:
    spoil(house, MIDDLE)


def metadata(house: House) -> None:
    assert change(house, f"UPDATE checkpoints SET metadata = x'7b' WHERE {NEWEST}")


def results(house: House) -> None:
    """Spoil what the tools gave."""
    found = "UPDATE writes SET type = ?, value = ? WHERE channel = 'messages' AND task_path LIKE '%PUSH%'"
    assert change(house, found, *RUBBISH) >= 1


def shape(house: House) -> None:
    """Put what no step writes into the newest checkpoint, in a form that can be read."""
    serde = StrictSerializer()
    path = house.folder / "data" / "checkpoints.db"
    with closing(sqlite3.connect(path)) as database:
        found = database.execute(f"SELECT type, checkpoint FROM checkpoints WHERE {NEWEST}").fetchone()
    checkpoint = serde.loads_typed(found)
    checkpoint["channel_values"] |= {"tool_calls": 3, "receipts": [7], "usage": "x"}
    update = f"UPDATE checkpoints SET type = ?, checkpoint = ? WHERE {NEWEST}"
    assert change(house, update, *serde.dumps_typed(checkpoint))


DAMAGES = (newest, newest_two, middle, metadata, results, shape)


async def answered(house: House, orchestrator: Orchestrator) -> None:
    await waiting(house, orchestrator)
    result = await orchestrator.resume("t1", answer=True, context=house.context())
    assert result.stop_reason == "answered"


async def waiting(house: House, orchestrator: Orchestrator) -> None:
    house.workspace.mkdir(parents=True, exist_ok=True)
    (house.workspace / "a.txt").write_text("milk")
    before = await orchestrator.ask('read_file {"path": "a.txt"}', thread_id="t1", context=house.context())
    assert before.stop_reason == "answered"
    assert (await orchestrator.ask(RING, thread_id="t1", context=house.context())).pending


async def talk_on(house: House, orchestrator: Orchestrator) -> None:
    """End what is open, say something new, and check that every provider would have taken it all."""
    result = await orchestrator.proceed("t1", context=house.context())
    if result.pending:
        result = await orchestrator.resume("t1", answer=True, context=house.context())
    assert result.stop_reason == "answered"
    said = await orchestrator.ask('read_file {"path": "a.txt"}', thread_id="t1", context=house.context())
    assert (said.tool_calls[0]["result"], said.stop_reason) == ("milk", "answered")
    assert (await diagnose(orchestrator, "t1")).remedies == ()
    assert (await diagnose(orchestrator, "t1")).condition == "answered"
    assert house.rejected() == []


@pytest.mark.parametrize(("begun", "layout"), [(answered, "gemini+anthropic"), (waiting, "openai")])
@pytest.mark.parametrize("damage", DAMAGES)
async def test_a_damaged_thread_is_repaired_without_an_effect_and_talked_on_in(settle, damage, begun, layout):
    house = settle(layout)
    async with house.open() as orchestrator:
        await begun(house, orchestrator)
    rung, heard = house.rung(), len(house.planner.heard)
    damage(house)
    async with house.open() as orchestrator:
        found = await diagnose(orchestrator, "t1")
        assert found.condition == "damaged"
        assert found.sentence.startswith("Thread 't1' is damaged: ")
        assert found.remedies
        done = await repair(orchestrator, "t1")
        assert done
        state = (await orchestrator.snapshot("t1")).values
        if any("without a result" in said for said in done):
            assert state["own_last_id"] == state["messages"][-1].id, "no client wrote these results"
        assert (await diagnose(orchestrator, "t1")).remedies == ()
        assert (house.rung(), len(house.planner.heard)) == (rung, heard)
        await talk_on(house, orchestrator)
    assert house.rung() == ["1 hall"]
    assert (house.folder / "data" / "damaged.db").stat().st_mode & 0o777 == 0o600


async def test_a_thread_of_which_nothing_can_be_read_begins_anew(settle):
    house = settle("openai")
    async with house.open() as orchestrator:
        await answered(house, orchestrator)
    spoil(house, "thread_id = 't1'")
    async with house.open() as orchestrator:
        assert "begins it anew" in (await repair(orchestrator, "t1"))[-1]
        assert (await diagnose(orchestrator, "t1")).condition == "elsewhere"
        with pytest.raises(UnknownThreadError):
            await orchestrator.result("t1")
        assert (
            await orchestrator.ask("hi", thread_id="t1", context=house.context())
        ).stop_reason == "answered"
    assert house.rung() == ["1 hall"]
    assert house.rejected() == []


@pytest.mark.slow
async def test_an_answer_that_was_never_taken_up_is_taken_back_and_the_person_asked_again(settle):
    house = settle("openai")
    async with house.open() as orchestrator:
        await waiting(house, orchestrator)
        task = (await orchestrator.snapshot("t1")).tasks[0].id
    stuck = JsonPlusSerializer().dumps_typed(["nonsense"])
    found = f"FROM checkpoints WHERE {NEWEST}"
    row = f"SELECT thread_id, checkpoint_ns, checkpoint_id, ?, '', -4, '__resume__', ?, ? {found}"
    columns = "thread_id, checkpoint_ns, checkpoint_id, task_id, task_path, idx, channel, type, value"
    assert change(house, f"INSERT INTO writes ({columns}) {row}", task, *stuck) == 1
    async with house.open() as orchestrator:
        found = await diagnose(orchestrator, "t1")
        assert found.condition == "waiting"
        assert "never taken up" in found.remedies[0]
        await repair(orchestrator, "t1")
        assert (await diagnose(orchestrator, "t1")).remedies == ()
        assert house.rung() == []
        await talk_on(house, orchestrator)
    assert house.rung() == ["1 hall"]


@pytest.mark.parametrize(("begun", "condition"), [(answered, "answered"), (waiting, "waiting")])
async def test_a_ledger_that_says_otherwise_than_the_thread_is_put_right(settle, begun, condition):
    house = settle("openai")
    async with house.open() as orchestrator:
        await begun(house, orchestrator)
        await orchestrator.ledger.touch("t1", user="local", status="interrupted")
        assert len(await orchestrator.pending()) == 0
        assert (await diagnose(orchestrator, "t1")).remedies == (
            f"note in the ledger that it is {condition}",
        )
        assert await repair(orchestrator, "t1") == [f"noted in the ledger that it is {condition}"]
        assert len(await orchestrator.pending()) == (condition == "waiting")
        await talk_on(house, orchestrator)


@pytest.mark.slow
async def test_a_thread_is_told_apart_at_its_gate_cut_short_in_doubt_and_answered(home, monkeypatch):
    monkeypatch.setenv("TWOBRAIN_DATA_DIR", str(home.data))
    async with home.opened() as orchestrator:
        assert (await orchestrator.ask('write "x" to a.txt', thread_id="t1")).pending
        told = await diagnose(orchestrator, "t1")
        assert told.condition == "waiting"
        assert (
            "for your yes or no to write_file; answer with: twobrain approve t1, or: twobrain"
            in told.sentence
        )
    killed(home, "during:write_file", "approve")
    looked_at = {one.name: one.text for one in await check_all()}
    assert looked_at["cut short"].startswith("t1 (in doubt) (twobrain resume")
    async with home.opened() as orchestrator:
        told = await diagnose(orchestrator, "t1")
        assert told.condition == "interrupted"
        assert "while write_file ran, and nobody knows whether that happened" in told.sentence
        assert [row["status"] for row in await orchestrator.ledger.threads()] == ["interrupted"]
        assert await repair(orchestrator, "t1") == []
        assert home.effects == ["write_file"]
        await orchestrator.ask("what is 12*7", thread_id="t1")
        told = await diagnose(orchestrator, "t1")
        assert told.sentence == "Thread 't1' is answered; nothing in it is open."
        with pytest.raises(UnknownThreadError):
            await diagnose(orchestrator, "nothing")
    assert home.effects == ["write_file", "calculate"]


async def test_a_thread_whose_turn_is_under_way_is_said_to_be_at_work_and_left_alone(home):
    async with home.opened() as orchestrator:
        async for event in orchestrator.stream("what is 12*7", thread_id="t1"):
            if isinstance(event, ToolStarted):
                assert (await diagnose(orchestrator, "t1")).condition == "running"
                with pytest.raises(RequestError) as caught:
                    await repair(orchestrator, "t1")
                check_clear(caught.value, "'t1' is at work now")
        assert (await diagnose(orchestrator, "t1")).condition == "answered"
    assert home.effects == ["calculate"]


async def test_a_call_that_a_lost_ledger_forgot_is_noted_as_one_that_may_have_happened(home):
    await cut_short(home, "remember that it rains", "remember")
    for file in home.data.glob("ledger.db*"):
        file.unlink()
    async with home.opened() as orchestrator:
        found = await diagnose(orchestrator, "t1")
        await repair(orchestrator, "t1")
        repaired = await diagnose(orchestrator, "t1")
        asked = (await orchestrator.proceed("t1")).pending
        result = await orchestrator.resume("t1", answer=False)

    for told in (found, repaired):
        assert "while remember ran, and nobody knows whether that happened" in told.sentence
    assert (found.missing_records, repaired.missing_records, repaired.remedies) == (True, False, ())
    assert [action["attempt"] for action in asked["action_requests"]] == [1]
    assert statuses(result) == {"remember": "unknown"}
    assert home.effects == ["remember"]
