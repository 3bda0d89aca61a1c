"""Answers that come twice, too late, or mangled."""

import asyncio
import json
import subprocess

from errors import NothingPendingError
from nodes.context import Context
from tests.graphs.crashes.process import check_pairs, go, start, statuses

WRITE = 'write "x" to a.txt'


async def test_of_two_answers_at_once_in_one_process_one_runs_the_call(home):
    async with home.opened() as one, home.opened() as other:
        assert (await one.ask(WRITE, thread_id="t1")).pending
        ends = await asyncio.gather(
            one.resume("t1", answer=True),
            one.resume("t1", answer=True),
            other.resume("t1", answer=True),
            return_exceptions=True,
        )
        assert any(not isinstance(end, Exception) for end in ends)
        assert all(isinstance(end, NothingPendingError) for end in ends if isinstance(end, Exception)), ends
        result = await one.proceed("t1")
        await check_pairs(one)
        assert (await one.ask("what is 12*7", thread_id="t1")).stop_reason == "answered"

    assert statuses(result) == {"write_file": "executed"}
    assert home.effects == ["write_file", "calculate"]


async def test_of_two_answers_from_two_processes_one_runs_the_call(home):
    async with home.opened() as orchestrator:
        assert (await orchestrator.ask(WRITE, thread_id="t1")).pending
    rivals = [start(home, "never", "approve") for _ in range(2)]
    for rival in rivals:
        go(rival)
    said = [await asyncio.to_thread(ended, rival) for rival in rivals]

    async with home.opened() as orchestrator:
        result = await orchestrator.proceed("t1")
        await check_pairs(orchestrator)

    assert any(json.loads(text)["response"] for text in said if text)
    assert statuses(result) == {"write_file": "executed"}
    assert home.effects == ["write_file"]


def ended(process: subprocess.Popen[str]) -> str:
    """Return what a process said in the end, empty where there was nothing left to answer."""
    said, complaint = process.communicate(timeout=60)
    assert process.returncode == 0 or "NothingPendingError" in complaint, complaint
    return said


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
