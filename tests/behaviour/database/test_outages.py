"""A way to Postgres that breaks, for a moment or for good: nothing runs twice, nothing is lost."""

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from base.errors import BusyThreadError, StorageAwayError
from graphs.session import Orchestrator
from ledger.database import open_ledger_database
from tests.behaviour.crashes.process import Home, check_pairs, statuses
from tests.behaviour.database.proxy import Relay, relay

TASK = 'what time is it in Tokyo and remember that it rains and write "x" to a.txt then what is 12*7'
EFFECTS = ["calculate", "get_time", "remember", "write_file"]


@pytest.fixture
def way(database_url, monkeypatch) -> Iterator[tuple[Relay, str]]:
    monkeypatch.setattr("storage.postgres.session_locks._GRACE_S", 0.1)
    with relay(database_url) as (passing, url):
        yield passing, url


@pytest.fixture
def home(tmp_path, way) -> Home:
    return Home(tmp_path, {"TWOBRAIN_DATABASE_URL": way[1]})


def impatient(monkeypatch, seconds: float) -> None:
    """Let nobody wait for long for a database that is away."""
    for module in ("postgres_database", "connections"):
        monkeypatch.setattr(f"storage.postgres.{module}.OUTAGE_S", seconds)
    monkeypatch.setattr("storage.postgres.session_locks._AWAY_S", seconds)


async def converse(orchestrator: Orchestrator, home: Home, thread: str) -> None:
    """Hold a conversation as if the database never broke, and look that it is whole."""
    asked = await orchestrator.ask(TASK, thread_id=thread)
    assert [("attempt" in action) for action in asked.pending["action_requests"]] == [False]
    result = await orchestrator.resume(thread, answer=True)
    assert statuses(result) == dict.fromkeys(EFFECTS, "executed")
    assert sorted(home.effects) == EFFECTS
    await check_pairs(orchestrator, thread)
    rows = await orchestrator.ledger.audit(thread=thread)
    assert sorted((row["tool"], row["status"]) for row in rows) == [(name, "executed") for name in EFFECTS]
    usage = await orchestrator.ledger.usage(thread=thread)
    assert [row["error"] for row in usage] == [None] * len(usage), "each model call is on record, and ended"


@pytest.mark.prove
@pytest.mark.parametrize("breaks", ["after", pytest.param("before", marks=pytest.mark.slow)])
async def test_a_connection_that_breaks_at_any_message_is_noticed_by_nobody(
    tmp_path, way, breaks, proving, tell
):
    passing, url = way

    async def run(thread: str, at: int = 0) -> int:
        home = Home(tmp_path / thread, {"TWOBRAIN_DATABASE_URL": url})
        async with home.opened() as orchestrator:
            begun = passing.asked
            if at:
                passing.breaks_at[begun + at] = breaks
            await converse(orchestrator, home, thread)
            return passing.asked - begun

    whole, broke = await run("whole"), 0
    assert whole > 50
    for at in range(1, whole, 1 if proving else whole // 6):
        await run(f"t{at}", at)
        broke += not passing.breaks_at  # a run may ask less than another
        passing.breaks_at.clear()
    assert broke >= 5
    tell(f"a connection was broken {breaks} each of {broke} messages")


@pytest.mark.slow
async def test_a_write_that_ends_while_the_database_is_away_is_recorded_when_it_is_back(
    home, way, monkeypatch
):
    passing, _ = way
    impatient(monkeypatch, 0.2)

    def happen(name: str) -> None:
        home.happen(name)
        passing.go_away()
        threading.Timer(1.5, passing.come_back).start()

    async with home.opened(happen) as orchestrator:
        with suppress(StorageAwayError):
            await orchestrator.ask("remember that it rains", thread_id="t1")
        result = await orchestrator.proceed("t1")
        [row] = await orchestrator.ledger.audit()

    assert (row["status"], statuses(result)) == ("executed", {"remember": "executed"})
    assert home.effects == ["remember"]


@pytest.mark.slow
async def test_a_database_away_for_good_is_told_in_a_sentence_and_the_thread_is_whole_afterwards(
    home, way, monkeypatch
):
    passing, _ = way
    impatient(monkeypatch, 0.3)
    async with home.opened() as orchestrator:
        assert (await orchestrator.ask(TASK, thread_id="t1")).pending
        passing.go_away()
        began = time.monotonic()
        with pytest.raises(StorageAwayError, match=r"The database 127.0.0.1:\d+/test_\w+ cannot be used"):
            await orchestrator.resume("t1", answer=True)
        waited = time.monotonic() - began
        with pytest.raises(StorageAwayError):
            await orchestrator.pending()
        passing.come_back()
        result = await orchestrator.resume("t1", answer=True)
        await check_pairs(orchestrator)

    assert waited < 10
    assert statuses(result) == dict.fromkeys(EFFECTS, "executed")
    assert sorted(home.effects) == EFFECTS


@pytest.mark.slow
async def test_a_turn_whose_lock_another_took_while_the_database_was_away_is_stopped(
    home, way, database_url, monkeypatch
):
    passing, _ = way
    monkeypatch.setattr("storage.postgres.session_locks._CHECK_S", 0.1)
    other = await asyncio.to_thread(open_ledger_database, database_url)
    begun, taken = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def happen(name: str) -> None:
        home.happen(name)
        if not taken.is_set():
            passing.go_away()
            loop.call_soon_threadsafe(begun.set)
            time.sleep(2)

    async def take() -> None:
        await begun.wait()
        async with other.thread_locks().of("t1"):
            passing.come_back()
            await taken.wait()

    async with home.opened(happen) as orchestrator:
        taking = asyncio.create_task(take())
        with pytest.raises(BusyThreadError, match="another process took it over"):
            await orchestrator.ask("what time is it in Tokyo", thread_id="t1")
        taken.set()
        await taking
        result = await orchestrator.proceed("t1")
    other.close()

    assert statuses(result) == {"get_time": "executed"}
