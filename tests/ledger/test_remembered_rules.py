"""Rules that a person made: counted, running out, revoked, and in ledgers from before there were any."""

import asyncio
import sqlite3
import time
from contextlib import closing
from dataclasses import replace

import pytest

from ledger.ledger import Ledger
from ledger.records import Claimed, Lost, NotApproved, Recorded, Remembered
from tests.ledger.samples import call, finish


async def remember(ledger: Ledger, call_id: str = "asked", **said) -> str:
    """Approve a call with a rule, and return the rule's id."""
    asked = call(call_id, path="notes/a")
    await ledger.ask([asked], expires_at=None)
    rule = Remembered({"path": "notes/*"}, "tool-1", **said)
    await ledger.decide(
        call(call_id).key, approve=True, by="alice", fingerprint=asked.fingerprint, remember=rule
    )
    return (await ledger.rules())[-1]["id"]


async def claim(ledger: Ledger, call_id: str, rule: str, **terms):
    terms = {"needs_approval": False, "lease_s": 60, "rerun": False, **terms}
    wanted = call(call_id, path="notes/a" if call_id == "asked" else f"notes/{call_id}")
    await ledger.enter([wanted])
    return await ledger.claim(wanted, rule=rule, **terms)


async def uses_left(ledger: Ledger) -> int | None:
    return (await ledger.rules())[0]["uses_left"]


async def test_an_approval_makes_the_rule_that_it_asks_for(ledger):
    rule = await remember(ledger, until=time.time() + 60, uses=2)
    [row] = await ledger.rules(user="alice", valid=True)
    assert row["id"] == rule
    assert (row["user"], row["tool"], row["where"]) == ("alice", "write_file", {"path": "notes/*"})
    assert (row["uses_left"], row["definition"], row["created_by"]) == (2, "tool-1", "alice")
    assert await ledger.rules(user="bob") == []


@pytest.mark.parametrize(
    ("approve", "fingerprint", "expires_in"), [(False, None, None), (True, "other", None), (True, None, -1)]
)
async def test_what_is_no_approval_on_record_makes_no_rule(ledger, approve, fingerprint, expires_in):
    asked = call("asked", path="notes/a")
    await ledger.ask([asked], expires_at=None if expires_in is None else time.time() + expires_in)
    rule = Remembered({"path": "*"}, "tool-1")
    shown = fingerprint or asked.fingerprint
    for _ in range(2):
        await ledger.decide(call("asked").key, approve=approve, by="alice", fingerprint=shown, remember=rule)
    assert await ledger.rules() == []


async def test_of_two_answers_only_the_first_makes_its_rule(ledger):
    asked = call("asked", path="notes/a")
    await ledger.ask([asked], expires_at=None)
    for rule in (None, Remembered({"path": "*"}, "tool-1")):
        await ledger.decide(
            call("asked").key, approve=True, by="alice", fingerprint=asked.fingerprint, remember=rule
        )
    assert await ledger.rules() == []


async def test_of_many_calls_at_once_as_many_run_by_a_rule_as_it_has_uses(ledger, place):
    rule = await remember(ledger, uses=3)
    other = await Ledger.open(place)
    ledgers = (ledger, other)
    said = await asyncio.gather(*(claim(ledgers[n % 2], f"c{n}", rule) for n in range(10)))
    assert said.count(Claimed(attempt=1)) == 3
    assert [type(each) for each in said].count(Recorded) == 7
    assert await uses_left(ledger) == 0
    assert await ledger.rules(valid=True) == []
    rows = [row for row in await ledger.audit() if row["call_id"] != "asked"]
    by_rule = [(row["decision"], row["decided_by"]) for row in rows if row["status"] == "running"]
    assert by_rule == [("rule", rule)] * 3
    assert {row["status"] for row in rows} == {"running", "denied"}
    await other.close()


async def test_a_call_that_the_person_approved_is_no_use_of_a_rule(ledger):
    rule = await remember(ledger, uses=1)
    assert await claim(ledger, "asked", rule) == Claimed(attempt=1)
    assert await uses_left(ledger) == 1


@pytest.mark.parametrize("rule", ["run out", "over", "revoked", "bob's"])
async def test_a_call_does_not_run_by_a_rule_that_does_not_hold(ledger, rule):
    said = {"run out": {"uses": 1}, "over": {"until": time.time() - 1}}.get(rule, {})
    made = await remember(ledger, **said)
    if rule == "run out":
        assert await claim(ledger, "first", made) == Claimed(attempt=1)
    if rule == "revoked":
        assert await ledger.revoke_rule(made, user="alice")
    user = "bob" if rule == "bob's" else "alice"
    wanted = call("c1", path="notes/c1")
    wanted = replace(wanted, user=user)
    await ledger.enter([wanted])
    denied = await ledger.claim(wanted, needs_approval=False, lease_s=60, rerun=False, rule=made)
    assert isinstance(denied, Recorded)
    assert denied.status == "denied"
    assert "run out" in denied.text


async def test_a_lost_call_that_is_run_again_is_one_use_even_of_a_rule_that_has_run_out(ledger):
    rule = await remember(ledger, uses=1)
    assert await claim(ledger, "c1", rule, lease_s=-1) == Claimed(attempt=1)
    assert await claim(ledger, "c1", "", needs_approval=True, rerun=True) == Claimed(attempt=2)
    assert await uses_left(ledger) == 0
    await finish(ledger, call("c1", path="notes/c1"), attempt=2)
    assert await claim(ledger, "c1", rule) == Recorded("executed", "done")


async def test_a_lost_call_that_its_rule_lets_run_again_is_counted_once(ledger):
    rule = await remember(ledger, uses=3)
    assert await claim(ledger, "c1", rule, lease_s=-1) == Claimed(attempt=1)
    assert await claim(ledger, "c1", rule, rerun=True, lease_s=-1) == Claimed(attempt=2)
    assert await uses_left(ledger) == 2
    assert set(await ledger.ask_again([call("c1", path="notes/c1")], None)) == {"c1"}


async def test_what_a_person_lets_run_again_is_no_use_of_a_rule(ledger):
    """Made anew by a model, a call may run only by a yes: a rule that has run out since denies it nothing."""
    rule = await remember(ledger, uses=1)
    assert await claim(ledger, "c1", rule) == Claimed(attempt=1)
    anew = replace(call("c1", path="notes/c1"), call_id="c2")
    assert (await ledger.enter([anew])).doubted == {"c2"}
    terms = {"needs_approval": False, "lease_s": 60, "rerun": False, "rule": rule}
    assert isinstance(await ledger.claim(anew, **terms), Lost)
    await ledger.ask_again([anew], None)
    await ledger.decide(anew.key, approve=True, by="alice", fingerprint=anew.fingerprint, attempt=1)
    assert await ledger.claim(anew, **terms) == Claimed(attempt=2, earlier="c1")
    assert await uses_left(ledger) == 0


async def test_a_claim_that_is_cancelled_gives_its_use_back(ledger, path):
    rule = await remember(ledger, uses=1)
    wanted = call("c1", path="notes/c1")
    await ledger.enter([wanted])
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        claiming = ledger.claim(wanted, needs_approval=False, lease_s=60, rerun=False, rule=rule)
        task = asyncio.create_task(claiming)
        await asyncio.sleep(0)
        task.cancel()
        other.execute("ROLLBACK")
    assert isinstance((await asyncio.gather(task, return_exceptions=True))[0], asyncio.CancelledError)
    assert await claim(ledger, "c1", rule) == Claimed(attempt=1)
    assert await uses_left(ledger) == 0


async def test_a_rule_is_revoked_once_and_only_by_its_user(ledger):
    rule = await remember(ledger)
    assert not await ledger.revoke_rule(rule, user="bob")
    assert await ledger.revoke_rule(rule, user="alice")
    assert not await ledger.revoke_rule(rule)
    assert isinstance(await claim(ledger, "c1", "", needs_approval=True), NotApproved)


async def test_a_lost_call_that_runs_again_by_its_rule_counts_once(ledger):
    rule = await remember(ledger, uses=3)
    assert await claim(ledger, "c1", rule, lease_s=-1) == Claimed(attempt=1)
    assert await uses_left(ledger) == 2
    assert await claim(ledger, "c1", rule, rerun=True, lease_s=-1) == Claimed(attempt=2)
    assert await claim(ledger, "c1", rule, rerun=True) == Claimed(attempt=3)
    assert await uses_left(ledger) == 2


async def test_rules_of_two_users_made_with_calls_of_the_same_id_are_two(ledger):
    for user in ("mallory", "alice"):
        asked = replace(call("asked", path="notes/a"), user=user)
        await ledger.ask([asked], expires_at=None)
        rule = Remembered({"path": f"{user}/*"}, "tool-1")
        told = {"approve": True, "by": user, "fingerprint": asked.fingerprint}
        assert (await ledger.decide(asked.key, **told, remember=rule)).won
    assert [(row["user"], row["where"]["path"]) for row in await ledger.rules()] == [
        ("mallory", "mallory/*"),
        ("alice", "alice/*"),
    ]


async def test_what_was_answered_and_what_is_not_wanted_is_known_of_its_user_and_tool_alone(ledger):
    taken = await remember(ledger, "taken", uses=2)
    for number, offered in enumerate(({"path": "notes/+([!/])"}, None), 1):
        asked = call(f"plain{number}", path="notes/b")
        await ledger.ask([asked], expires_at=None)
        await ledger.decide(
            asked.key, approve=True, by="alice", fingerprint=asked.fingerprint, offered=offered
        )
    await claim(ledger, "by-rule", taken)
    answers = await ledger.answers("alice", "write_file", since=0)
    assert [row["args"]["path"] for row in answers.calls] == ["notes/b", "notes/b", "notes/a"]
    assert {(row["decision"], bool(row["tainted"])) for row in answers.calls} == {("approved", False)}
    assert answers.declined == [{"path": "notes/+([!/])"}]
    assert await ledger.revoke_rule(taken, user="alice")
    assert {"path": "notes/*"} in (await ledger.answers("alice", "write_file", since=0)).declined
    for user, tool, since in (("bob", "write_file", 0), ("alice", "send_email", 0)):
        assert await ledger.answers(user, tool, since=since) == ([], [])
    assert (await ledger.answers("alice", "write_file", since=time.time() + 60)).calls == []
