"""Approvers on the server: a parent sees and answers what a child's thread asks."""

import asyncio
import sqlite3
from contextlib import closing

import httpx
import pytest
from langgraph_sdk.client import LangGraphClient

from tests.server.conftest import BEARERS
from tests.server.serving import Server
from tests.server.talking import APPROVE, GRAPH, REJECT, Talk, opened, outcomes


async def _waiting(kid: LangGraphClient, file: str) -> Talk:
    talk = Talk(kid, (await kid.threads.create())["thread_id"])
    assert (await talk.say(f'write "homework" to {file}'))["pending"]
    return talk


async def _rows(server: Server, talk: Talk) -> list[tuple[str, str, str | None, str]]:
    async with opened(server.ledger) as ledger:
        rows = await ledger.audit(thread=talk.id)
        return [(row["user"], row["role"], row["decided_by"], row["status"]) for row in rows]


async def _found(client: LangGraphClient, talk: Talk) -> bool:
    waiting = await client.threads.search(status="interrupted", limit=100)
    return talk.id in {thread["thread_id"] for thread in waiting}


async def test_a_parent_finds_reads_and_answers_what_a_child_waits_for(alice, bob, kid, guarded):
    talk = await _waiting(kid, "essay.txt")
    assert [await _found(client, talk) for client in (alice, kid, bob)] == [True, True, False]
    [interrupt] = (await alice.threads.get(talk.id))["interrupts"].values()
    [asked] = interrupt[0]["value"]["action_requests"]
    assert asked["args"] == {"path": "essay.txt", "content": "homework"}
    assert "It waits for alice." in asked["description"]
    assert (await alice.threads.get_state(talk.id))["next"] == ["confirm"]

    again = await talk.answer(APPROVE)
    assert "Only alice may agree to this" in again["pending"]["problem"]
    assert await _rows(guarded, talk) == [("kid", "user", None, "waiting")]
    done = await Talk(alice, talk.id).answer(APPROVE, context={"user": "alice", "tools": []})
    assert outcomes(done) == [("write_file", "executed")]
    assert await _rows(guarded, talk) == [("kid", "user", "alice", "executed")]
    assert (guarded.workspace / ".people" / "kid" / "essay.txt").read_text() == "homework"
    assert not await _found(alice, talk)
    with pytest.raises(Exception, match="not found"):
        await alice.threads.get_state(talk.id)
    assert (await talk.say("what is 12*7"))["response"]


@pytest.mark.slow
async def test_a_parent_hears_the_end_of_a_turn_that_takes_its_time(alice, kid, guarded):
    talk = await _waiting(kid, "slow.txt")
    heard = []
    with closing(sqlite3.connect(guarded.data_dir / "checkpoints.db")) as other:
        async for event in alice.runs.stream(
            talk.id, GRAPH, command={"resume": APPROVE}, stream_mode="updates"
        ):
            if event.event == "updates" and not any(each.event == "updates" for each in heard):
                other.execute("BEGIN IMMEDIATE")  # so the turn cannot go on
                await asyncio.sleep(1.2)  # the server looks every 0.5 s whether she may still listen
                other.rollback()
            heard.append(event)
    assert [event.data for event in heard if event.event == "error"] == []
    assert await _rows(guarded, talk) == [("kid", "user", "alice", "executed")]
    with pytest.raises(Exception, match="not found"):
        await alice.threads.get(talk.id)


async def test_a_client_widens_nothing_that_a_users_table_narrows(kid):
    talk = Talk(kid, (await kid.threads.create())["thread_id"])
    said = "what time is it in Tokyo and what is 12*7"
    assert outcomes(await talk.say(said, tools=["get_time", "calculate"])) == [("calculate", "executed")]


async def test_a_parent_does_nothing_else_on_a_childs_thread(alice, bob, kid, guarded):
    talk = await _waiting(kid, "kept.txt")
    hers = Talk(alice, talk.id)
    first = (await kid.threads.get_history(talk.id, limit=100))[-1]["checkpoint"]
    for run in (
        {"input": {"messages": [{"role": "user", "content": "hello"}]}},
        {"input": None},
        {"command": {"resume": APPROVE, "update": {"response": "forged"}}},
        {"command": {"resume": APPROVE, "goto": "respond"}},
        {"command": {"resume": APPROVE}, "checkpoint": first},
        {"command": {"resume": APPROVE}, "multitask_strategy": "rollback"},
    ):
        with pytest.raises(Exception, match="An approver may answer what this thread asks, no more"):
            await hers.run(**run)
    async with httpx.AsyncClient(base_url=guarded.url, headers=BEARERS["alice"]) as client:
        place = f"/threads/{talk.id}"
        tries = [
            ("PATCH", place, {"metadata": {"owner": "alice"}}),
            ("DELETE", place, None),
            ("POST", f"{place}/state", {"values": {"response": "forged"}, "as_node": "explain"}),
            ("POST", f"{place}/runs/crons", {"assistant_id": GRAPH, "schedule": "0 5 1 1 *"}),
        ]
        answers = [await client.request(method, path, json=body) for method, path, body in tries]
    assert all(answer.is_client_error for answer in answers), answers
    with pytest.raises(Exception, match=r"(?i)not found"):
        await Talk(bob, talk.id).answer(APPROVE)
    assert (await kid.threads.get(talk.id))["metadata"]["owner"] == "kid"
    assert await _rows(guarded, talk) == [("kid", "user", None, "waiting")]
    assert outcomes(await talk.answer(REJECT)) == [("write_file", "denied")]
