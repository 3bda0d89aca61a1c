import hashlib
import sqlite3
from contextlib import closing

import pytest

from base.errors import StorageError
from ledger.records import Recorded
from tests.ledger.samples import call, claim, finish


async def test_a_new_message_closes_what_is_open_and_gets_what_is_recorded(ledger):
    await ledger.ask([call("waiting")], expires_at=None)
    lost, running, done = call("lost", path="a"), call("running", path="b"), call("done", path="c")
    await claim(ledger, lost, lease_s=0)
    await claim(ledger, running)
    await claim(ledger, done)
    await finish(ledger, done, "42")

    await ledger.enter([call("never claimed")])

    found = await ledger.supersede([call("waiting"), lost, running, done, call("never claimed")])

    assert {call_id: outcome.status for call_id, outcome in found.items()} == {
        "waiting": "superseded",
        "lost": "unknown",
        "done": "executed",
        "never claimed": "superseded",
    }
    assert found["done"].text == "42"


async def test_a_result_is_given_back_whole_with_its_size_and_hash(ledger, path):
    long = "grüne Milch, \N{CHEESE WEDGE} and eggs\n" * 60
    await claim(ledger, call("c1"))
    await finish(ledger, call("c1"), long)

    assert await claim(ledger, call("c1")) == Recorded("executed", long)
    assert await ledger.outcomes("alice", "t1", ["c1"]) == {"c1": Recorded("executed", long)}
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("SELECT owner FROM calls").fetchall() == [(None,)]
    [row] = await ledger.audit()
    assert row["result_size"] == len(long.encode())
    assert row["result_sha256"] == hashlib.sha256(long.encode()).hexdigest()


@pytest.mark.parametrize("stored", [b"rubbish", bytes(50_000_000)], ids=["rubbish", "50 MB"])
@pytest.mark.slow
async def test_a_result_that_was_never_stored_so_is_told_as_damage(ledger, path, stored):
    await claim(ledger, call("c1"))
    await finish(ledger, call("c1"), "milk")
    with closing(sqlite3.connect(path)) as other, other:
        assert other.execute("UPDATE calls SET text = ?", [stored]).rowcount

    for asked in (ledger.outcomes("alice", "t1", ["c1"]), claim(ledger, call("c1"))):
        with pytest.raises(StorageError, match="damaged"):
            await asked
    assert len(await ledger.audit()) == 1


async def test_a_superseded_call_can_never_be_claimed(ledger):
    await ledger.enter([call()])
    await ledger.supersede([call()])

    assert (await claim(ledger, call(), rerun=True)).status == "superseded"


async def test_a_call_that_never_ran_is_noted_unless_it_is_on_record(ledger):
    await ledger.enter([call("c1")])
    await ledger.note(call("c1"), status="denied", text="guests may not write")
    await ledger.note(call("c1"), status="failed", text="other")

    assert await ledger.outcomes("alice", "t1", ["c1", "c2"]) == {
        "c1": Recorded("denied", "guests may not write")
    }


async def test_the_audit_tells_who_did_what_and_how_it_ended(ledger):
    await ledger.ask([call("c1", path="a")], expires_at=None)
    fingerprint = call("c1", path="a").fingerprint
    await ledger.decide(call("c1").key, approve=True, by="bob", fingerprint=fingerprint, at=5.0)
    await claim(ledger, call("c1", path="a"), needs_approval=True)
    await finish(ledger, call("c1", path="a"), "grün")

    [row] = await ledger.audit(thread="t1", user="alice")

    assert row.pop("started_at") > 0
    assert row == {
        "thread": "t1",
        "turn": "turn-1",
        "call_id": "c1",
        "user": "alice",
        "role": "user",
        "model": "gemini",
        "tool": "write_file",
        "args": {"path": "a"},
        "effect": "write",
        "decision": "approved",
        "decided_by": "bob",
        "decided_at": 5.0,
        "unknown_outcomes": [],
        "status": "executed",
        "duration_ms": 1.5,
        "result_size": 5,
        "result_sha256": hashlib.sha256("grün".encode()).hexdigest(),
    }


async def test_the_audit_gives_the_newest_last_and_only_what_was_asked_for(ledger):
    for n in range(4):
        await claim(ledger, call(f"c{n}"))

    assert [row["call_id"] for row in await ledger.audit(limit=2)] == ["c2", "c3"]
    assert await ledger.audit(thread="t2") == await ledger.audit(user="bob") == []


async def test_a_result_of_any_text_is_kept_whole_but_for_what_no_database_holds(ledger):
    await claim(ledger, call())
    await finish(ledger, call(), "x" * 1_000_000 + "\ud800\0")

    assert (await ledger.outcomes("alice", "t1", ["c1"]))["c1"].text == "x" * 1_000_000 + "\ufffd\ufffd"
