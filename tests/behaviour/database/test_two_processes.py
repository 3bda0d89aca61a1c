"""Processes with folders of their own that share one Postgres: every promise holds between them."""

import asyncio
import json
import re
import time

import pytest

from base.settings import load_settings
from graphs.session import open_orchestrator
from ledger.database import open_ledger_database
from ledger.ledger import Ledger
from ledger.owner import presence_of
from ledger.records import Claimed, Lost, Running
from tests.behaviour.crashes.process import Home, check_pairs, go, killed, start, statuses
from tests.ledger.samples import call, claim
from tools.memory import memory_rows

WRITE = 'write "x" to a.txt'


@pytest.fixture
def homes(tmp_path, database_url) -> tuple[Home, Home]:
    """Two machines, as it were, whose tools leave their effects in files of their own."""
    return tuple(Home(tmp_path / name, {"TWOBRAIN_DATABASE_URL": database_url}) for name in ("one", "two"))


def furnished(tmp_path, database_url, name: str, toml: str = ""):
    """Return a machine's settings, with the real tools."""
    (tmp_path / name).mkdir(exist_ok=True)
    (config := tmp_path / name / "twobrain.toml").write_text(toml)
    return load_settings(
        {
            "TWOBRAIN_CONFIG": str(config),
            "TWOBRAIN_DATA_DIR": str(tmp_path / name / "data"),
            "TWOBRAIN_WORKSPACE": str(tmp_path / name / "workspace"),
            "TWOBRAIN_DATABASE_URL": database_url,
        }
    )


@pytest.mark.slow
async def test_a_write_that_one_ran_as_it_was_killed_is_not_run_again_by_the_other(homes):
    one, two = homes
    async with two.opened() as other:
        with start(one, "never", "ask", WRITE) as process:
            go(process)
            assert json.loads(process.stdout.readline())["pending"]
        killed(one, "during:write_file", "approve")
        asked = await other.proceed("t1")
        assert [action["attempt"] for action in asked.pending["action_requests"]] == [1]
        result = await other.resume("t1", answer=False)
        await check_pairs(other)

    assert statuses(result) == {"write_file": "unknown"}
    assert (one.effects, two.effects) == (["write_file"], [])


@pytest.mark.slow
async def test_an_outcome_that_one_recorded_is_what_the_other_goes_on_with(homes):
    one, two = homes
    killed(one, "recorded:remember", "ask", "remember that it rains")
    async with two.opened() as other:
        result = await other.proceed("t1")

    assert statuses(result) == {"remember": "executed"}
    assert (one.effects, two.effects) == (["remember"], [])


async def test_what_one_was_told_the_other_recalls_and_looks_up_with_where_it_is_from(tmp_path, database_url):
    machines = [furnished(tmp_path, database_url, name) for name in ("one", "two")]
    async with open_orchestrator(machines[0]) as first, open_orchestrator(machines[1]) as second:
        await first.ask("remember that the boiler is old", thread_id="t1")
        [row] = await memory_rows(second.graph.store, second.ledger, "local")
        told = [
            (await second.ask(f'use {tool} {{"query": "boiler"}}', thread_id=tool)).tool_calls[0]["result"]
            for tool in ("recall", "search_conversations")
        ]

    assert (row["title"], row["by"], row["untrusted"]) == (
        "remember that the boiler is old",
        "assistant",
        False,
    )
    assert all("thread t1" in each for each in told)


async def test_messages_sent_to_both_at_once_take_turns_and_none_is_lost(homes):
    one, two = homes
    async with one.opened() as first, two.opened() as second:
        turns = [each.ask(f"what is {n}*7", thread_id="t1") for n, each in enumerate([first, second] * 3, 1)]
        results = await asyncio.gather(*turns)
        snapshot = await first.snapshot("t1")
        await check_pairs(second)

    said = [message.text for message in snapshot.values["messages"] if message.type == "human"]
    assert sorted(said) == [f"what is {n}*7" for n in range(1, 7)]
    assert [statuses(result) for result in results] == [{"calculate": "executed"}] * 6
    assert len(one.effects) == len(two.effects) == 3


async def test_an_approval_given_on_both_counts_once_and_both_are_told_what_became_of_it(homes):
    one, two = homes
    async with one.opened() as first, two.opened() as second:
        assert (await first.ask(WRITE, thread_id="t1")).pending
        [waiting] = await second.pending()
        ends = await asyncio.gather(
            *(each.resume("t1", answer=True) for each in [first, second] * 5), return_exceptions=True
        )
        rows = [await each.ledger.audit() for each in (first, second)]
        status = [(await each.ledger.thread("t1"))["status"] for each in (first, second)]

    assert waiting["request"]["action_requests"][0]["name"] == "write_file"
    assert sorted(one.effects + two.effects) == ["write_file"]
    told = {str(end) for end in ends if isinstance(end, Exception)}
    assert all("write_file was approved by local" in each and each.endswith("executed.") for each in told)
    assert [row["status"] for row in rows[0]] == ["executed"]
    assert rows[0] == rows[1]
    assert status == ["answered"] * 2


@pytest.mark.slow
async def test_what_one_used_of_the_day_counts_on_the_other(tmp_path, database_url):
    limits = "[limits]\nmax_tokens_per_day = 1\n"
    settings = [furnished(tmp_path, database_url, name, limits) for name in ("one", "two")]
    async with open_orchestrator(settings[0]) as one, open_orchestrator(settings[1]) as two:
        await one.ask("what is 12*7", thread_id="t1")
        refused = await two.ask("what is 12*7", thread_id="t2")

    assert (refused.stop_reason, refused.tool_calls) == ("tokens_per_day", [])
    assert "of 1 token." in refused.response


@pytest.mark.slow
async def test_a_rule_agreed_to_on_one_holds_on_the_other_and_its_uses_are_counted_once(
    tmp_path, database_url
):
    one, two = (furnished(tmp_path, database_url, name) for name in ("one", "two"))
    rule = {"type": "approve", "remember": {"where": {"path": "*"}, "uses": 2}}
    async with open_orchestrator(one) as first, open_orchestrator(two) as second:
        assert (await first.ask(WRITE, thread_id="t1")).pending
        await first.resume("t1", {"decisions": [rule]})
        results = [await each.ask(f'write "y" to {n}.txt') for n, each in enumerate((second, first, second))]
        decided = [row["decision"] for row in await second.ledger.audit()]

    assert [bool(result.pending) for result in results] == [False, False, True]
    assert decided == ["approved", "rule", "rule", None]


@pytest.mark.slow
async def test_a_long_result_of_one_is_read_on_with_by_the_other(homes, tmp_path, database_url):
    one, two = (furnished(tmp_path, database_url, name) for name in ("one", "two"))
    text = "".join(f"line {number}\n" for number in range(5_000))
    (one.workspace).mkdir(parents=True)
    (one.workspace / "long.txt").write_text(text)
    async with open_orchestrator(one) as first, open_orchestrator(two) as second:
        stored = await first.long_results.put("local", text, untrusted=True)
        piece = await second.long_results.read("local", stored.handle, 10, 20)
        theirs = await second.long_results.read("bob", stored.handle, 10, 20)

    assert (piece.text, piece.size, theirs) == (text[10:30], len(text), None)
    assert re.fullmatch(r"[0-9a-f]{20}-untrusted", stored.handle)


@pytest.mark.slow
async def test_what_one_remembers_the_other_recalls(tmp_path, database_url):
    one, two = (furnished(tmp_path, database_url, name) for name in ("one", "two"))
    async with open_orchestrator(one) as first, open_orchestrator(two) as second:
        await first.ask("remember that the bin goes out on Monday")
        result = await second.ask("what do you remember about the bin")

    assert "Monday" in result.response


async def test_who_lives_on_another_host_is_known_and_who_died_there_too(database_url, monkeypatch):
    monkeypatch.setattr("ledger.owner._GRACE_S", 0)  # the server of the tests has just begun
    there = await asyncio.to_thread(open_ledger_database, database_url)
    there.announce(presence_of("elsewhere/1/2"))
    elsewhere, here = Ledger(there, str, "elsewhere/1/2"), await Ledger.open(database_url)
    await elsewhere.touch("t1", user="alice", status="running")
    assert await claim(elsewhere, call()) == Claimed(attempt=1)
    alive = await claim(here, call()), (await here.thread("t1"))["status"]
    await elsewhere.close()
    dead = await claim(here, call()), (await here.thread("t1"))["status"]
    undone = await here.claim(call(), needs_approval=False, lease_s=60, rerun=False, undone=1)
    await here.close()

    assert (type(alive[0]), alive[1]) == (Running, "running")
    assert (type(dead[0]), dead[1]) == (Lost, "interrupted")
    assert isinstance(undone, Lost), "what it ran may still go on: only its connection is known to be gone"


async def test_a_clock_that_is_wrong_shortens_no_lease_and_no_question(database_url, monkeypatch):
    """The database's clock holds, whatever a machine's says."""
    right = await Ledger.open(database_url)
    waiting = call("asked", path="a")
    until = right.now() + 30
    await right.ask([waiting], expires_at=until)
    assert await claim(right, call("held"), lease_s=30) == Claimed(attempt=1)
    real = time.time
    monkeypatch.setattr("time.time", lambda: real() + 60)
    wrong = await Ledger.open(database_url)
    shown = waiting.fingerprint
    decided = await wrong.decide(waiting.key, approve=True, by="alice", fingerprint=shown)
    held = await claim(wrong, call("held"), rerun=True)
    away_s = abs(wrong.now() - real())
    for each in (right, wrong):
        await each.close()

    assert decided.approved
    assert isinstance(held, Running)
    assert away_s < 5
