import asyncio
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain
from pathlib import Path

import pytest

from ledger import claims
from ledger.claims import Claimant
from ledger.database import open_ledger_database
from ledger.ledger import Ledger
from ledger.owner import presence_of, this_process
from ledger.records import Call, Claimed, Lost, NotApproved, Recorded, Running, fields_of
from tests.ledger.samples import call, claim, finish

ROOT = Path(__file__).parents[2]


def start(database: Path | str, effects: Path | str, task: str, what: str) -> subprocess.Popen[str]:
    script = [sys.executable, str(Path(__file__).with_name("claimer.py"))]
    return subprocess.Popen(
        [*script, str(database), str(effects), task, what],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@contextmanager
def holder(database: Path | str, call_id: str) -> Iterator[subprocess.Popen[str]]:
    with start(database, "no effects", "hold", call_id) as process:
        try:
            assert process.stdout.readline() == "Claimed\n"
            yield process
        finally:
            process.kill()


async def test_of_fifty_claims_from_threads_loops_and_ledgers_exactly_one_runs(place, tmp_path):
    ledgers = [await Ledger.open(place), await Ledger.open(place)]
    effects = tmp_path / "effects"

    async def click(ledger: Ledger) -> str:
        got = await claim(ledger, call())
        if isinstance(got, Claimed):
            with effects.open("a") as file:
                file.write("ran\n")
        return type(got).__name__

    async def clicks(ledger: Ledger) -> list[str]:
        return await asyncio.gather(*(click(ledger) for _ in range(10)))

    with ThreadPoolExecutor(5) as threads:
        said = list(threads.map(lambda n: asyncio.run(clicks(ledgers[n % 2])), range(5)))

    assert Counter(chain(*said)) == {"Claimed": 1, "Running": 49}
    assert effects.read_text() == "ran\n"
    for ledger in ledgers:
        await ledger.close()


@pytest.mark.slow
async def test_processes_that_open_and_claim_together_run_each_call_once(place, tmp_path):
    effects = tmp_path / "effects"
    processes = [start(place, effects, "each", "20") for _ in range(3)]
    for process in processes:
        process.communicate(timeout=120)

    assert [process.returncode for process in processes] == [0, 0, 0]
    assert Counter(effects.read_text().split()) == {f"c{n}": 1 for n in range(20)}


async def test_a_killed_owners_claim_is_lost_at_once_and_only_a_rerun_takes_it(ledger, place):
    with holder(place, "c1") as process:
        process.kill()
        process.wait()

        assert isinstance(await claim(ledger, call()), Lost)
        assert await ledger.await_outcome(call("c1").key, timeout_s=60) is None
        assert await claim(ledger, call(), rerun=True) == Claimed(attempt=2)


async def test_an_unreaped_owner_is_as_gone_as_any(ledger, place):
    with holder(place, "c1") as process:
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # noqa: ASYNC222 (it was just killed)

        assert isinstance(await claim(ledger, call()), Lost)


async def test_a_living_owners_outcome_can_be_awaited_and_its_claim_not_taken(ledger, place):
    with holder(place, "c1") as process:
        assert isinstance(await claim(ledger, call(), rerun=True), Running)
        assert await ledger.await_outcome(call("c1").key, timeout_s=0) is None

        process.stdin.close()

        assert await ledger.await_outcome(call("c1").key, timeout_s=30) == Recorded(
            "executed", "held and done"
        )


async def test_a_claim_whose_lease_lapsed_is_lost_though_its_owner_lives(ledger):
    await claim(ledger, call(), lease_s=0)

    assert isinstance(await claim(ledger, call()), Lost)


async def test_an_attempt_that_ends_late_says_nothing_of_the_one_that_took_over(ledger):
    await claim(ledger, call(), lease_s=0)
    assert await claim(ledger, call(), rerun=True) == Claimed(attempt=2)

    await finish(ledger, call(), "the first attempt's", attempt=1)
    assert isinstance(await claim(ledger, call(), rerun=True), Running)
    await ledger.abandon(call("c1").key, attempt=1)
    assert isinstance(await claim(ledger, call(), rerun=True), Running)
    await finish(ledger, call(), "the second attempt's", attempt=2)
    assert await claim(ledger, call()) == Recorded("executed", "the second attempt's")


async def test_a_finished_call_gives_its_recorded_result_to_every_later_claim(ledger):
    await claim(ledger, call())
    await finish(ledger, call(), "42")

    assert await claim(ledger, call(), rerun=True) == Recorded("executed", "42")
    assert await claim(ledger, call(), needs_approval=True) == Recorded("executed", "42")


async def test_other_arguments_under_the_same_id_never_run_and_get_no_foreign_result(ledger):
    await claim(ledger, call(path="a"), lease_s=0)
    assert isinstance(await claim(ledger, call(path="b"), rerun=True), NotApproved)

    await finish(ledger, call(path="a"))
    assert isinstance(await claim(ledger, call(path="b"), rerun=True), NotApproved)


async def test_the_same_id_in_another_thread_is_another_call(ledger):
    other = Call("t2", "c1", "turn-1", "bob", "user", "gemini", "write_file", {}, "write")

    assert await claim(ledger, call()) == await claim(ledger, other) == Claimed(attempt=1)


async def test_the_first_outcome_stays(ledger):
    await claim(ledger, call())
    first = await ledger.finish(call("c1").key, status="failed", text="no", duration_ms=None, attempt=1)
    second = await ledger.finish(call("c1").key, status="executed", text="yes", duration_ms=None, attempt=1)

    assert first == second == Recorded("failed", "no")


async def test_a_cancelled_claim_undoes_no_claim_of_whoever_took_over(ledger, place):
    """A claim whose caller never learned of it is released when the writer comes to that: maybe too late."""
    await ledger.enter([call("c1")])
    database = open_ledger_database(place)
    database.announce(presence_of("other/1/2"))
    wanted = {**fields_of(call("c1")), "args": "{}", "fingerprint": call("c1").fingerprint}
    terms = {"needs_approval": False, "rerun": True}
    was: dict = {}
    now = time.time()
    first, other = Claimant(this_process(), now), Claimant("other/1/2", now)
    database.change(lambda c: claims.claim(c, wanted, first, {**terms, "lease_s": -1}, was))
    again = database.change(lambda c: claims.claim(c, wanted, other, {**terms, "lease_s": 60}, {}))
    assert again == Claimed(attempt=2)
    database.change(lambda c: claims.release(c, was, first))
    assert isinstance(await claim(ledger, call("c1"), rerun=True), Running)
    [row] = await ledger.audit()
    assert row["status"] == "running"
    database.close()


async def test_only_the_owner_finishes_a_claim(ledger, place):
    with holder(place, "c1"):
        mine = await ledger.finish(
            call("c1").key, status="executed", text="not mine", duration_ms=None, attempt=1
        )
        assert mine is None
        assert await ledger.outcomes("alice", "t1", ["c1"]) == {}


async def test_a_claim_that_its_caller_never_learned_of_is_free_again(ledger):
    await ledger.enter([call()])
    taking = ledger.claim(call(), needs_approval=False, lease_s=60, rerun=False)
    cancelled = asyncio.create_task(taking)
    await asyncio.sleep(0)
    cancelled.cancel()
    await asyncio.gather(cancelled, return_exceptions=True)

    assert cancelled.cancelled()
    assert await claim(ledger, call()) == Claimed(attempt=1)


async def test_a_cancelled_claim_of_a_lost_call_leaves_it_lost(ledger):
    await claim(ledger, call(), lease_s=0)
    before = await claim(ledger, call())
    assert isinstance(before, Lost)
    taking_over = ledger.claim(call(), needs_approval=False, lease_s=60, rerun=True)
    cancelled = asyncio.create_task(taking_over)
    await asyncio.sleep(0)
    cancelled.cancel()
    await asyncio.gather(cancelled, return_exceptions=True)

    assert await claim(ledger, call()) == before


async def test_a_call_that_the_ledger_never_heard_of_is_lost_unless_it_may_run_twice(ledger):
    terms = {"needs_approval": False, "lease_s": 60}

    assert await ledger.claim(call("c1"), **terms, rerun=False) == Lost(since=None, attempt=1)
    assert await ledger.claim(call("c2"), **terms, rerun=True) == Claimed(attempt=2)


async def test_an_outcome_under_the_same_id_of_another_turn_is_not_the_calls_own(ledger):
    await claim(ledger, call())
    await finish(ledger, call())
    got = await ledger.claim(replace(call(), turn="turn-2"), needs_approval=False, lease_s=60, rerun=True)

    assert isinstance(got, Recorded)
    assert got.status == "unknown"


async def test_an_outcome_reaches_the_disk_though_its_caller_is_cancelled(ledger):
    await claim(ledger, call())
    cancelled = asyncio.create_task(finish(ledger, call(), "sent"))
    await asyncio.sleep(0)
    cancelled.cancel()
    await asyncio.gather(cancelled, return_exceptions=True)

    assert cancelled.cancelled()
    assert await claim(ledger, call()) == Recorded("executed", "sent")


async def test_what_was_begun_once_makes_one_of_two_like_it_doubtful(ledger):
    """The other is one more, which the model wants; what the conversation holds counts for nothing."""
    await claim(ledger, call("c1"))
    assert (await ledger.enter([call("c2"), call("c3")], held={"c1"})).doubted == set()
    assert (await ledger.enter([call("c4"), call("c5")])).doubted == {"c4"}
    assert (await ledger.enter([call("c6")], held={"c4", "c5"})).doubted == set(), "it was answered for"


async def test_what_another_turn_user_thread_or_a_read_began_makes_nothing_doubtful(ledger):
    await claim(ledger, call("c1"))
    read = replace(call("c2"), effect="read")
    others = [replace(call("c3"), **{name: "other"}) for name in ("turn", "user", "thread")]
    for other in [read, call("c4", path="other"), *others]:
        assert (await ledger.enter([other])).doubted == set()
    await claim(ledger, replace(call("c5"), effect="read", tool="read_file", fingerprint=""))
    assert (await ledger.enter([replace(call("c6"), tool="read_file", fingerprint="")])).doubted == set()
