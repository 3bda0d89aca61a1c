"""What monitoring is told: sums over all users and processes, the same from SQLite and Postgres."""

import time

from ledger.usage import BEGUN, DOCTOR
from tests.ledger.samples import call, claim, finish, use


async def test_the_counts_are_sums_of_what_is_on_record(ledger):
    now = time.time()
    for one in (use(at=now), use(at=now, error="timeout"), use(at=now, turn="turn-2", user="bob")):
        ledger.record_usage(one)
    ledger.record_usage(use(at=now, error=BEGUN))
    ledger.record_usage(use(at=now - 3 * 86_400, role=DOCTOR, thread=DOCTOR, turn=DOCTOR, cost_usd=None))
    ran = call("c1", path="a")
    await claim(ledger, ran)
    await finish(ledger, ran)
    lost, waiting = call("c2", path="b"), call("c3", path="c")
    await claim(ledger, lost, lease_s=-1)
    await ledger.enter([waiting])
    await ledger.ask([waiting], None)
    await ledger.touch("t1", user="alice", status="waiting")

    found = await ledger.counts()

    by_error = {(row["role"], row["error"]): (row["calls"], row["input_tokens"]) for row in found.model_calls}
    assert by_error == {
        ("orchestrator", None): (2, 200),
        ("orchestrator", "timeout"): (1, 100),
        (DOCTOR, None): (1, 100),
    }
    assert {(row["tool"], row["status"], row["began"], row["calls"]) for row in found.tool_calls} == {
        ("write_file", "executed", True, 1)
    }
    assert (found.turns, found.waiting, found.in_doubt) == (2, 1, 1)
    assert now <= found.waiting_since <= time.time()
    assert {row["user"]: (row["tokens"], row["cost_usd"]) for row in found.day} == {
        "alice": (330, 0.75),
        "bob": (110, 0.25),
    }
    for row in (*found.model_calls, *found.tool_calls, *found.day):
        assert {type(value) for value in row.values()} <= {str, int, float, bool, type(None)}
