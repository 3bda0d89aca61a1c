"""Advisory locks when their session breaks: the loss is told to whoever had the lock, and to nobody else."""

import asyncio
import threading

import psycopg
import pytest

from base.errors import BusyThreadError
from ledger.ledger import Ledger
from storage.postgres.lock_keys import key_of

KEY = key_of("turn of t1")
OTHERS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


@pytest.fixture
async def ledger(database_url, monkeypatch):
    monkeypatch.setattr(
        "storage.postgres.session_locks._CHECK_S", 60
    )  # a test breaks it, and has it looked at
    monkeypatch.setattr("storage.postgres.session_locks._GRACE_S", 0)
    opened = await Ledger.open(database_url)
    yield opened
    await opened.close()


def steal(database_url: str) -> psycopg.Connection:
    """End all sessions, and take the lock of `t1` before it can be taken again."""
    thief = psycopg.connect(database_url, autocommit=True)
    thief.execute(OTHERS)
    assert thief.execute("SELECT pg_advisory_lock(%s)", (KEY,))
    return thief


async def renew(ledger: Ledger) -> None:
    await asyncio.to_thread(ledger.database.session.is_taken, 17)


async def test_a_lock_lost_before_its_turn_began_stops_that_turn(ledger, database_url, monkeypatch):
    session, locks, begun = ledger.database.session, ledger.database.thread_locks(), []
    taken = session.take

    def take(*asked):
        held = taken(*asked)
        with steal(database_url):
            session.is_taken(17)
        return held

    monkeypatch.setattr(session, "take", take)
    with pytest.raises(BusyThreadError, match="another process took it over"):
        async with locks.of("t1"):
            begun.append("t1")
    assert begun == []


@pytest.mark.slow
async def test_a_turn_that_lost_its_lock_lets_go_of_no_other_turns(ledger, database_url):
    locks, ends, began = ledger.database.thread_locks(), threading.Event(), threading.Event()

    async def slowly() -> None:
        async with locks.of("t1"):
            began.set()
            try:
                await asyncio.sleep(30)
            finally:
                await asyncio.shield(asyncio.to_thread(ends.wait))

    slow = asyncio.create_task(asyncio.to_thread(asyncio.run, slowly()))  # in an event loop of its own
    await asyncio.to_thread(began.wait)
    with steal(database_url):
        await renew(ledger)
    async with locks.of("t1"):
        ends.set()
        with pytest.raises(BusyThreadError, match="another process took it over"):
            await slow
        with psycopg.connect(database_url, autocommit=True) as other:
            assert other.execute("SELECT pg_try_advisory_lock(%s)", (KEY,)).fetchone() == (False,)


@pytest.mark.slow
async def test_a_turn_that_ended_is_not_cancelled_by_a_loss_told_late(ledger, database_url):
    locks, told = ledger.database.thread_locks(), []
    async with locks.of("t1"):
        with steal(database_url):
            ledger.database.session.is_taken(17)  # its loss is told once the event loop is free
    await asyncio.sleep(0)
    told.append("whole")
    assert told == ["whole"]
    assert asyncio.current_task().cancelling() == 0


async def test_whoever_had_a_lock_comes_before_who_asks_as_the_session_breaks(
    ledger, database_url, monkeypatch
):
    monkeypatch.setattr("storage.postgres.session_locks._GRACE_S", 60)
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(OTHERS)
    with pytest.raises(BusyThreadError):
        async with ledger.database.thread_locks().at_once("t1"):
            pass
    with psycopg.connect(database_url, autocommit=True) as had_it:
        assert had_it.execute("SELECT pg_try_advisory_lock(%s)", (KEY,)).fetchone() == (True,)
