from dataclasses import replace

from ledger.ledger import Ledger
from ledger.records import Claimed, Recorded
from tests.ledger.samples import call, claim, finish

READ = replace(call(path="a"), tool="read_file", effect="read")


async def end(ledger: Ledger, read, text: str = "milk") -> None:
    told = {"status": "executed", "text": text, "duration_ms": 1.5, "attempt": read.attempt}
    await ledger.finish(read.call.key, **told, read=read)


async def test_how_far_a_read_got_is_on_record_though_nobody_waited_for_it(ledger):
    ledger.reads.plan([READ])
    assert await ledger.known("t1") == {"c1"}
    assert await ledger.audit() == []

    read = ledger.reads.begin(READ, lease_s=60)
    [begun] = await ledger.audit()
    await end(ledger, read)
    [ended] = await ledger.audit()

    assert (begun["status"], ended["status"]) == ("running", "executed")
    assert (ended["tool"], ended["args"], ended["result_size"]) == ("read_file", {"path": "a"}, 4)
    assert await ledger.outcomes("alice", "t1", ["c1"]) == {"c1": Recorded("executed", "milk")}


async def test_a_read_is_begun_once_and_as_it_was_planned(ledger):
    ledger.reads.plan([READ, replace(READ, call_id="c2")])

    assert ledger.reads.begin(replace(READ, args={"path": "b"}), lease_s=60) is None
    assert ledger.reads.begin(READ, lease_s=60) is None
    assert ledger.reads.begin(replace(READ, call_id="c2"), lease_s=60)
    assert ledger.reads.begin(replace(READ, call_id="c2"), lease_s=60) is None


async def test_a_read_with_the_id_of_an_older_call_leaves_that_ones_record_as_it_is(ledger):
    await claim(ledger, call())
    await finish(ledger, call(), "wrote")
    later = replace(READ, turn="turn-2")

    ledger.reads.plan([later])
    await end(ledger, ledger.reads.begin(later, lease_s=60))

    audit = await ledger.audit()
    assert [(row["turn"], row["tool"], row["status"]) for row in audit] == [
        ("turn-1", "write_file", "executed"),
        ("turn-2", "read_file", "executed"),
    ]
    assert await ledger.outcomes("alice", "t1", ["c1"]) == {"c1": Recorded("executed", "wrote")}


async def test_a_read_that_was_taken_over_says_nothing_of_the_one_that_took_over(ledger):
    ledger.reads.plan([READ])
    read = ledger.reads.begin(READ, lease_s=0)
    taken_over = await claim(ledger, READ, rerun=True)

    await end(ledger, read, "too late")
    assert await ledger.outcomes("alice", "t1", ["c1"]) == {}
    await finish(ledger, READ, "milk", attempt=2)

    assert taken_over == Claimed(2)
    assert await ledger.outcomes("alice", "t1", ["c1"]) == {"c1": Recorded("executed", "milk")}
