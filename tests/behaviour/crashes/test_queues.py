"""A message or an answer that comes while another process is at work on the thread, or was."""

import asyncio
import shutil
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langgraph.types import Command

from base.errors import BusyThreadError, NothingPendingError
from graphs.result import Result
from graphs.session import Orchestrator
from graphs.stream import Begun, Done, Event, Queued
from nodes.context import Context
from storage.thread_lock import FileLocks
from tests.behaviour.crashes.process import Home, check_pairs, go, killed, start, statuses

WRITE = 'write "x" to a.txt'
REMEMBER = "remember that it rains"


async def said(orchestrator: Orchestrator) -> list[str]:
    snapshot = await orchestrator.graph.aget_state(orchestrator.config("t1"))
    return [message.text for message in snapshot.values["messages"] if isinstance(message, HumanMessage)]


async def _rest(events: AsyncIterator[Event]) -> Result:
    """Follow a queued turn to its end."""
    assert await anext(events) == Begun()
    *_, last = [event async for event in events]
    assert isinstance(last, Done)
    return last.result


async def test_a_message_during_another_ones_turn_waits_for_its_end(home):
    begun, released, loop = asyncio.Event(), threading.Event(), asyncio.get_running_loop()

    def happen(name):
        home.happen(name)
        loop.call_soon_threadsafe(begun.set)
        released.wait(180)

    async with home.opened(happen) as one, home.opened() as other:
        first = asyncio.create_task(one.ask(REMEMBER, thread_id="t1"))
        await asyncio.wait_for(begun.wait(), 30)
        told = other.stream("what is 12*7", thread_id="t1")
        assert await anext(told) == Queued()
        second = asyncio.create_task(_rest(told))
        elsewhere = await other.ask("what is 12*7", thread_id="t2")
        assert not second.done()
        released.set()
        results = await asyncio.gather(first, second)
        await check_pairs(one)
        assert await said(one) == [REMEMBER, "what is 12*7"]
        alone = [event async for event in one.stream("what is 12*7", thread_id="t1")]
        assert not any(isinstance(event, Queued | Begun) for event in alone)

    assert [statuses(result) for result in [*results, elsewhere]] == [
        {"remember": "executed"},
        {"calculate": "executed"},
        {"calculate": "executed"},
    ]
    assert list((home.data / "turns").glob("*")) == []


def run(orchestrator: Orchestrator, given: Any, thread: str = "t1") -> Coroutine[Any, Any, Any]:
    """Run the graph itself, as a program or a server does."""
    return orchestrator.graph.ainvoke(given, orchestrator.config(thread))


def message(text: str) -> dict[str, Any]:
    return {"messages": [HumanMessage(text)]}


async def test_runs_of_the_plain_graph_and_turns_of_a_thread_take_turns(home):
    async with home.opened() as one, home.opened() as other:
        texts = [f"what is {number}*7" for number in range(6)]
        runs = [run(process, message(text)) for text, process in zip(texts, (one, other) * 3, strict=True)]
        await asyncio.gather(*runs, one.ask("what is 6*7", thread_id="t1"))
        await check_pairs(one)
        assert sorted(await said(one)) == [*texts, "what is 6*7"]
        messages = (await one.snapshot("t1")).values["messages"]
        kinds = ["human", "ai", "tool", "ai"]
        assert [each.type for each in messages] == kinds * 7, "no turn began within another"


@pytest.mark.parametrize("answer", [True, "yes", {"type": "approve"}, {"decisions": [{"type": "approve"}]}])
async def test_two_answers_at_once_to_the_plain_graph_answer_one_question(home, answer):
    async with home.opened() as one, home.opened() as other:
        await run(one, message('write "a" to a.txt then write "b" to b.txt'))
        ended = await asyncio.gather(*(run(each, Command(resume=answer)) for each in (one, other)))
        [asked] = [each["pending"] for each in ended if "sent before this question" in str(each["pending"])]
        assert [action["args"]["path"] for action in asked["action_requests"]] == ["b.txt"]
        assert home.effects == ["write_file"]
        done = await run(one, Command(resume=answer))
        assert (done["pending"], home.effects) == (None, ["write_file"] * 2)


async def test_a_process_killed_in_the_middle_of_its_turn_keeps_nobody_waiting(home):
    killed(home, "during:get_time", "ask", "what time is it in Tokyo")
    left = list((home.data / "turns").glob("*"))
    async with home.opened() as orchestrator, asyncio.timeout(120):
        result = await orchestrator.ask("what is 12*7", thread_id="t1")

    assert len(left) == ("TWOBRAIN_DATABASE_URL" not in home.environ)
    assert statuses(result) == {"calculate": "executed"}


async def test_a_process_that_does_not_end_is_named_when_the_patience_does(tmp_path):
    one = FileLocks(tmp_path / "turns")
    other = FileLocks(tmp_path / "turns", patience_s=0)
    async with one.of("t1"):
        with pytest.raises(BusyThreadError, match=r"'t1' is at work in another process \(process \d+\)"):
            async with other.of("t1"):
                pass
        async with other.of("t2"):
            pass
    async with other.of("t1"):
        pass


async def test_whoever_takes_the_locks_away_is_in_the_way_of_no_later_turn(tmp_path):
    one, other = FileLocks(tmp_path / "turns"), FileLocks(tmp_path / "turns")
    async with one.of("t1"):
        shutil.rmtree(tmp_path / "turns")
    async with one.of("t1"):
        assert await other.is_held("t1")
        assert await one.is_held("t1")
        assert not await other.is_held("t2")
    assert not await other.is_held("t1")


async def test_many_who_take_turns_are_never_two_at_once(tmp_path):
    inside = most = 0

    async def take(turns: FileLocks) -> None:
        nonlocal inside, most
        async with turns.of("t1"):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1

    everybody = [FileLocks(tmp_path / "turns") for _ in range(8)]
    await asyncio.gather(*(take(turns) for turns in everybody for _ in range(5)))

    assert most == 1


async def late(home: Home, answer: object) -> str:
    async with home.opened() as orchestrator:
        with pytest.raises(NothingPendingError) as error:
            await orchestrator.resume("t1", answer)
    return str(error.value)


async def test_a_late_approval_is_told_what_became_of_what_it_was_about(home):
    async with home.opened() as one:
        assert (await one.ask(WRITE, thread_id="t1")).pending
        await one.ask("what is 12*7", thread_id="t1")
    superseded = await late(home, answer=True)
    async with home.opened() as one:
        assert (await one.ask(WRITE, thread_id="t1")).pending
        await one.resume("t1", {"type": "reject", "message": "not now"})
    denied = await late(home, answer=True)
    async with home.opened() as one:
        assert (await one.ask(WRITE, thread_id="t1", context=Context(confirm_ttl_s=1e-6))).pending
        await one.resume("t1", answer=True)
    expired = await late(home, answer=True)
    with start(home, "never", "ask", WRITE) as process:
        go(process)
        process.stdout.readline()
        process.kill()
    async with home.opened() as one:
        await one.resume("t1", answer=True)
    executed = await late(home, answer=False)

    assert "write_file was superseded by a newer message, so it did not run" in superseded
    assert "write_file was rejected by local on" in denied
    assert "the approval came too late, so it did not run" in expired
    assert "write_file was approved by local on" in executed
    assert executed.endswith("executed.")
    assert home.effects.count("write_file") == 1


CROWD = """
import asyncio, pathlib, resource, sys
from storage.thread_lock import FileLocks

resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
locks, inside, most = FileLocks(pathlib.Path(sys.argv[1])), 0, 0


async def take(number):
    global inside, most
    async with locks.of(f"t{number}"):
        inside += 1
        most = max(most, inside)
        await asyncio.sleep(0.5)
        open("/dev/null").close()
        inside -= 1


async def crowd():
    await asyncio.gather(*(take(number) for number in range(100)))


asyncio.run(crowd())
print(most)
"""


def test_a_crowd_leaves_half_of_the_files_that_a_process_may_open(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", CROWD, str(tmp_path / "turns")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == 32
