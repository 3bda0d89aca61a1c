"""What is finished and old can be deleted; everything else stays as it was, whatever cuts that short."""

import asyncio
import json
import os
import signal
import sqlite3
import time
from contextlib import closing, suppress

import pytest

from base.errors import UnknownThreadError
from doctor.prune import prunable, prune
from graphs.session import Orchestrator
from nodes.events import ToolStarted
from tests.behaviour.crashes.power import Power, PowerCutError
from tests.behaviour.crashes.process import Home, killed
from tests.terminal.forked import Forked

LATER = time.time() + 86_400
WRITE = 'write "x" to a.txt'


def threads_in(home: Home) -> dict[str, set[str]]:
    """Return the threads of which each table holds anything."""
    named = {"checkpoints.db": {"checkpoints": "thread_id", "writes": "thread_id"}}
    named["ledger.db"] = {"threads": "thread", "calls": "thread", "usage": "thread"}
    found = {}
    for file, tables in named.items():
        with closing(sqlite3.connect(home.data / file)) as database:
            for table, column in tables.items():
                rows = database.execute(f"SELECT DISTINCT {column} FROM {table}")
                found[table] = {row[0] for row in rows}
    return found


async def furnish(home: Home) -> None:
    """Leave threads of every kind: two finished, one at its gate, one in doubt."""
    async with home.opened() as orchestrator:
        for thread in ("done-1", "done-2"):
            await orchestrator.ask("what is 12*7", thread_id=thread)
        assert (await orchestrator.ask(WRITE, thread_id="waiting")).pending
        assert (await orchestrator.ask(WRITE, thread_id="t1")).pending
    killed(home, "during:write_file", "approve")


STAYING = {"waiting", "t1"}
FINISHED = {"done-1", "done-2"}


async def told(orchestrator: Orchestrator) -> list[object]:
    results = [await orchestrator.result(thread) for thread in sorted(STAYING)]
    return [result.to_json() for result in results]


@pytest.mark.parametrize("audit", [False, True])
async def test_finished_threads_go_and_all_others_stay_as_they_were(home, audit):
    await furnish(home)
    async with home.opened() as orchestrator:
        before = await told(orchestrator)
        assert await prunable(orchestrator, time.time() - 3_600) == []
        assert set(await prunable(orchestrator, LATER)) == FINISHED
        done = await prune(orchestrator, LATER, audit=audit)
        assert set(done.threads) == FINISHED
        assert done.compacted
        assert await told(orchestrator) == before
        with pytest.raises(UnknownThreadError):
            await orchestrator.result("done-1")
        kept = threads_in(home)
        assert kept["checkpoints"] == kept["writes"] == kept["threads"] == STAYING
        assert kept["usage"] == STAYING | FINISHED
        assert kept["calls"] == (STAYING if audit else STAYING | FINISHED)
        assert (await orchestrator.ask("what is 2*3", thread_id="done-1")).stop_reason == "answered"
        assert (await orchestrator.resume("waiting", answer=True)).stop_reason == "answered"
    assert home.effects.count("write_file") == 2


async def test_the_disk_gets_its_room_back_and_is_left_to_its_owner_alone(home):
    async with home.opened() as orchestrator:
        for number in range(10):
            await orchestrator.ask(f"remember that {'it rains ' * 2_000}", thread_id=f"t{number}")
        done = await prune(orchestrator, LATER)
    assert done.freed_bytes > 200_000
    sizes = {path.name: path.stat().st_size for path in home.data.glob("*.db*")}
    assert sizes["checkpoints.db"] < 60_000
    assert {path.stat().st_mode & 0o777 for path in home.data.glob("*.db*")} == {0o600}


async def test_a_thread_that_is_at_work_stays_and_the_turn_ends_as_ever(home):
    async with home.opened() as orchestrator, home.opened() as other:
        await orchestrator.ask("what is 12*7", thread_id="old")
        await orchestrator.ask("what is 12*7", thread_id="t1")
        async for event in orchestrator.stream("what is 2*3", thread_id="t1"):
            if isinstance(event, ToolStarted):
                assert (await prune(other, LATER)).threads == ["old"]
        assert (await orchestrator.result("t1")).stop_reason == "answered"
        assert len((await orchestrator.snapshot("t1")).values["messages"]) == 8


@pytest.mark.slow
async def test_power_that_goes_at_any_write_leaves_all_consistent_and_the_next_run_ends_it(home):
    for writes in range(20):
        async with home.opened() as orchestrator:
            for thread in FINISHED:
                await orchestrator.ask("what is 12*7", thread_id=thread)
            if writes == 0:
                assert (await orchestrator.ask(WRITE, thread_id="waiting")).pending
            before = (await orchestrator.result("waiting")).to_json()
        power = Power(writes)
        ledger = await power.ledger(home.settings())
        with suppress(PowerCutError):
            async with home.opened(ledger=ledger, committing=power.draw) as orchestrator:
                await prune(orchestrator, LATER)
        async with home.opened() as orchestrator:
            await prune(orchestrator, LATER)
            kept = threads_in(home)
            assert kept["checkpoints"] == kept["writes"] == kept["threads"] == {"waiting"}
            assert (await orchestrator.result("waiting")).to_json() == before
        if not power.is_cut:
            break
    assert writes > 5


def prune_and_die(home: Home) -> None:
    """Be killed once the first thread's steps are deleted."""
    asyncio.run(_prune_and_die(home))


async def _prune_and_die(home: Home) -> None:
    async with home.opened() as orchestrator:
        saver = orchestrator.graph.checkpointer
        delete = saver.adelete_thread

        async def deleted(thread: str) -> None:
            await delete(thread)
            os.kill(os.getpid(), signal.SIGKILL)

        saver.adelete_thread = deleted
        await prune(orchestrator, time.time() + 60)


async def test_a_process_killed_while_it_prunes_leaves_what_the_next_one_ends(home):
    await furnish(home)
    with Forked(prune_and_die, home) as process:
        assert await asyncio.to_thread(process.wait) == -signal.SIGKILL
    assert len(threads_in(home)["threads"]) == 4
    async with home.opened() as orchestrator:
        before = await told(orchestrator)
        assert set((await prune(orchestrator, LATER)).threads) == FINISHED
        assert await told(orchestrator) == before
    assert threads_in(home)["threads"] == STAYING


@pytest.mark.slow
async def test_a_long_result_goes_once_no_thread_that_is_left_gave_or_read_it(settle):
    house = settle("openai")
    house.workspace.mkdir(parents=True)
    for name in ("one", "two", "old"):
        (house.workspace / name).write_text(f"{name} " * 1_000)
    async with house.open() as orchestrator:

        async def ask(text: str, thread: str) -> None:
            await orchestrator.ask(text, thread_id=thread, context=house.context())

        await ask('read_file {"path": "old"}', "gone")
        await ask('read_file {"path": "one"} & read_file {"path": "two"}', "gone")
        [one] = [path for path in house.stored() if path.read_text().startswith("one")]
        call = json.dumps({"handle": one.name[:20], "offset": 2_500})
        await ask(f"read_result {call}", "reads")
        await ask('read_file {"path": "two"}', "gives")
        await ask('ring_bell {"times": 1}', "reads")
        await ask('ring_bell {"times": 1}', "gives")
        assert await prunable(orchestrator, LATER) == ["gone"]
        assert (await prune(orchestrator, LATER)).results == 0  # too young to be sure that nobody needs them
        for path in house.stored():
            os.utime(path, (1, 1))
        assert (await prune(orchestrator, LATER)).results == 1
    kept = {path.read_text().split()[0] for path in house.stored()}
    assert kept == {"one", "two"}


@pytest.mark.slow
async def test_a_result_that_is_stored_again_counts_as_young(settle):
    house = settle("openai")
    house.workspace.mkdir(parents=True)
    (house.workspace / "one").write_text("one " * 1_000)
    read = 'read_file {"path": "one"}'
    async with house.open() as orchestrator:
        await orchestrator.ask(read, thread_id="a", context=house.context())
        [one] = house.stored()
        os.utime(one, (1, 1))
        await orchestrator.ask(read, thread_id="b", context=house.context())
        assert one.stat().st_mtime > time.time() - 60
