"""Answers that come twice, too late, or mangled."""

import asyncio
import json
from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any

import pytest
from langgraph.types import Command

from base.errors import NothingPendingError
from graphs.session import Orchestrator
from nodes.context import Context
from tests.behaviour.crashes.process import check_pairs, clicks, go, start, statuses

IN_FULL = pytest.mark.prove(sampled=False)

WRITE = 'write "x" to a.txt'


async def asked(orchestrator: Orchestrator) -> str:
    """Let the thread wait for an approval; return the id of the checkpoint it waits at."""
    assert (await orchestrator.ask(WRITE, thread_id="t1")).pending
    snapshot = await orchestrator.graph.aget_state(orchestrator.config("t1"))
    return snapshot.config["configurable"]["checkpoint_id"]


async def check_one_end(orchestrator: Orchestrator, ends: Sequence[dict[str, str]]) -> None:
    """Check that everybody was told the same, that it is so, and that the thread goes on."""
    result = await orchestrator.proceed("t1")
    assert ends
    assert all(end == {"response": result.response, "write_file": "executed"} for end in ends)
    await check_pairs(orchestrator)
    assert (await orchestrator.ask("what is 12*7", thread_id="t1")).stop_reason == "answered"


@pytest.mark.slow
@pytest.mark.parametrize(
    "ways",
    [
        *(pytest.param([way], marks=IN_FULL) for way in ("resume", "ainvoke", "at the checkpoint")),
        ["resume", "ainvoke", "at the checkpoint"],
    ],
    ids="+".join,
)
async def test_of_50_approvals_at_once_one_runs_the_call_and_all_are_told_of_it(home, ways):
    async with home.opened() as one, home.opened() as other:
        checkpoint = await asked(one)
        ways = [checkpoint if way == "at the checkpoint" else way for way in ways]
        ends = await clicks([one, other], 50, ways)
        late = await clicks([one], 1, [checkpoint])
        await check_one_end(one, [*ends, *late])

    assert home.effects == ["write_file", "calculate"]


@pytest.mark.parametrize("processes", [1, 2])
async def test_a_second_click_does_not_answer_the_question_that_comes_after(home, processes):
    async with home.opened() as one, home.opened() as other:
        assert (await one.ask(f'{WRITE} then write "y" to b.txt', thread_id="t1")).pending
        clicked = [one, (one, other)[processes - 1]]
        first, second = await asyncio.gather(
            *(each.resume("t1", answer=True) for each in clicked), return_exceptions=True
        )
        asked_next, refused = (second, first) if isinstance(first, Exception) else (first, second)
        assert isinstance(refused, NothingPendingError)
        assert "asks something else by now" in str(refused)
        assert "write_file was approved by local" in str(refused)
        assert [action["args"]["path"] for action in asked_next.pending["action_requests"]] == ["b.txt"]
        assert (await one.result("t1")).pending == asked_next.pending
        assert home.effects == ["write_file"]
        assert statuses(await other.resume("t1", answer=True)) == {"write_file": "executed"}
    assert home.effects == ["write_file", "write_file"]


async def test_a_second_click_on_the_first_of_two_calls_does_not_decide_the_other(home):
    async with home.opened() as one:
        assert (await one.ask(f'{WRITE} and write "y" to b.txt', thread_id="t1")).pending
        once = {"type": "approve"}
        for asked_next in (
            "a.txt",
            "b.txt",
        ):  # the first decides nothing: asked alone
            ends = await asyncio.gather(*(one.resume("t1", once) for _ in range(2)), return_exceptions=True)
            assert [type(end) for end in ends].count(NothingPendingError) == 1
            [left] = (await one.result("t1")).pending["action_requests"]
            assert left["args"]["path"] == asked_next
            assert home.effects == []
        assert (await one.resume("t1", answer=False)).pending is None
    assert home.effects == ["write_file"]


@pytest.mark.parametrize("way", ["resume", "ainvoke"])
async def test_a_click_that_is_read_late_decides_nothing_that_was_asked_after_it_came(home, way):
    read, over = ContextVar("read", default=False), asyncio.Event()
    async with home.opened() as one:
        assert (await one.ask(f'{WRITE} then write "y" to b.txt', thread_id="t1")).pending
        saver: Any = one.graph.checkpointer
        load = saver.aget_tuple

        async def late(config: Any) -> Any:
            if read.get():
                await over.wait()
            return await load(config)

        saver.aget_tuple = late

        async def click() -> Any:
            read.set(True)
            if way == "resume":
                return await one.resume("t1", answer=True)
            return await one.graph.ainvoke(Command(resume=True), one.config("t1"))

        second = asyncio.create_task(click())
        await asyncio.sleep(0)  # it has come by now
        assert (await one.resume("t1", answer=True)).pending
        over.set()
        await asyncio.wait([second])
        [waits] = (await one.result("t1")).pending["action_requests"]
        assert waits["args"]["path"] == "b.txt"
    assert home.effects == ["write_file"]


@pytest.mark.prove
@pytest.mark.parametrize("ways", ["resume", "ainvoke {checkpoint}"])
async def test_of_approvals_at_once_from_several_processes_one_runs_the_call(home, ways, proving, tell):
    async with home.opened() as orchestrator:
        ways = ways.format(checkpoint=await asked(orchestrator))
    rivals = [start(home, "never", "click", ways) for _ in range(25 if proving else 2)]
    for rival in rivals:
        go(rival)
    said = [await asyncio.to_thread(rival.communicate, 120) for rival in rivals]

    assert [rival.returncode for rival in rivals] == [0] * len(rivals)
    async with home.opened() as orchestrator:
        ends = [end for text in said for end in json.loads(text)]
        await check_one_end(orchestrator, ends)
    assert home.effects == ["write_file", "calculate"]
    tell(
        f"{10 * len(rivals)} approvals at once from {len(rivals)} processes: 1 effect, {len(ends)} told of it"
    )


async def test_a_yes_and_a_no_at_once_come_to_one_end(home):
    async with home.opened() as orchestrator:
        assert (await orchestrator.ask(WRITE, thread_id="t1")).pending
        await asyncio.gather(
            orchestrator.resume("t1", answer=True),
            orchestrator.resume("t1", answer=False),
            return_exceptions=True,
        )
        result = await orchestrator.proceed("t1")
        [row] = await orchestrator.ledger.audit()
        await check_pairs(orchestrator)

    done = row["decision"] == "approved"
    assert statuses(result) == {"write_file": "executed" if done else "denied"}
    assert home.effects == (["write_file"] if done else [])


async def test_an_approval_that_comes_too_late_is_refused_and_said_to_be(home):
    async with home.opened() as orchestrator:
        context = Context(confirm_ttl_s=0.000_001)
        assert (await orchestrator.ask(WRITE, thread_id="t1", context=context)).pending
        result = await orchestrator.resume("t1", answer=True)
        [row] = await orchestrator.ledger.audit()
        await check_pairs(orchestrator)

    assert statuses(result) == {"write_file": "expired"}
    assert row["status"] == "expired"
    assert "too late" in result.response
    assert result.stop_reason == "answered"
    assert home.effects == []
