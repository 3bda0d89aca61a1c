"""A ledger that an earlier version made is brought up to date; one of an unknown layout stays as it is."""

import sqlite3
from contextlib import closing

import pytest

from base.errors import StorageError
from ledger.ledger import Ledger
from ledger.records import Claimed, Recorded
from ledger.tables import OLDEST, VERSION
from tests.ledger.samples import call, claim, finish, use

NEXT = (
    (VERSION + 1, "ALTER TABLE threads ADD COLUMN mood VARCHAR"),
    (VERSION + 1, "UPDATE threads SET mood = 'good'"),
    (VERSION + 2, "ALTER TABLE usage ADD COLUMN seat INTEGER"),
)


def query(path, sql: str) -> list[tuple]:
    with closing(sqlite3.connect(path)) as raw:
        return raw.execute(sql).fetchall()


async def test_a_ledger_of_an_earlier_version_keeps_all_it_held_and_works_on(path, monkeypatch):
    ledger = await Ledger.open(path)
    await ledger.touch("t1", user="alice", status="answered", title="Bins")
    await claim(ledger, call("c1", path="a"))
    await finish(ledger, call("c1", path="a"), "wrote a")
    ledger.record_usage(use())
    held = await ledger.threads(), await ledger.audit(), await ledger.usage()
    await ledger.close()

    monkeypatch.setattr("ledger.database.VERSION", VERSION + 2)
    monkeypatch.setattr("ledger.database.MIGRATIONS", NEXT)
    for _ in range(2):  # the second time there is nothing left to do
        ledger = await Ledger.open(path)
        assert (await ledger.threads(), await ledger.audit(), await ledger.usage()) == held
        assert await claim(ledger, call("c1", path="a")) == Recorded("executed", "wrote a")
        await ledger.close()

    assert query(path, "SELECT thread, mood FROM threads") == [("t1", "good")]
    assert query(path, "SELECT seat FROM usage") == [(None,)]
    assert query(path, "SELECT version FROM ledger_schema") == [(VERSION + 2,)]
    ledger = await Ledger.open(path)
    assert await claim(ledger, call("c2")) == Claimed(attempt=1)
    await ledger.close()


async def test_a_new_ledger_is_made_whole_and_not_migrated(path, monkeypatch):
    monkeypatch.setattr("ledger.database.VERSION", VERSION + 2)
    monkeypatch.setattr("ledger.database.MIGRATIONS", NEXT)
    await (await Ledger.open(path)).close()

    assert query(path, "SELECT version FROM ledger_schema") == [(VERSION + 2,)]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("DROP TABLE ledger_schema", "tables of an unknown layout"),
        ("DELETE FROM ledger_schema", "tables of an unknown layout"),
        (f"UPDATE ledger_schema SET version = {OLDEST - 1}", f"schema {OLDEST - 1}"),
        (f"UPDATE ledger_schema SET version = {VERSION + 1}", f"schema {VERSION + 1}"),
    ],
)
async def test_a_ledger_of_an_unknown_layout_is_refused_and_left_as_it_is(path, change, told):
    await (await Ledger.open(path)).close()
    with closing(sqlite3.connect(path)) as raw, raw:
        raw.execute(change)
        raw.execute("DROP TABLE usage")
    before = query(path, "SELECT name FROM sqlite_master ORDER BY name")

    with pytest.raises(StorageError, match=rf"{told}.*another data directory"):
        await Ledger.open(path)
    assert query(path, "SELECT name FROM sqlite_master ORDER BY name") == before
