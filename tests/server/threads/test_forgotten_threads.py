"""Threads that are on disk, whatever LangGraph's server has written of its list: it does so seldom."""

import uuid

import pytest
from langgraph_sdk import get_client

from tests.server.conftest import BEARERS, GUARDED
from tests.server.serving import Server
from tests.server.talking import APPROVE, GRAPH, Talk, opened, outcomes


@pytest.mark.slow
async def test_a_gate_survives_a_kill_of_the_server_and_is_approved_after_it(tmp_path):
    with Server(tmp_path, "", {}) as server:
        async with get_client(url=server.url) as client:
            talk = Talk(client, (await client.threads.create())["thread_id"])
            asked = (await talk.say('what is 12*7 and write "buy milk" to kept.txt'))["pending"]
            unused = (await client.threads.create())["thread_id"]
            await talk.client.store.put_item(["memories", "local"], "bin", {"text": "Monday"})
            named = (await client.threads.create(metadata={"project": "garden"}))["thread_id"]
            said = {"messages": [{"role": "user", "content": "what is 1+1"}]}
            await client.runs.create(named, GRAPH, input=said)
        server.kill()
        server.start()
        async with get_client(url=server.url) as client:
            [listed] = await client.threads.search(status="interrupted")
            assert listed["thread_id"] == talk.id
            [[interrupt]] = listed["interrupts"].values()
            assert interrupt["value"] == listed["values"]["pending"] == asked
            assert listed["values"]["messages"][0]["content"].startswith("what is 12*7")
            [found] = await client.threads.search(metadata={"project": "garden"})
            assert found["thread_id"] == named
            for run in await client.runs.list(named):
                await client.runs.join(named, run["run_id"])
            state = await client.threads.get_state(named)
            assert state["values"]["response"].startswith("1+1 = 2")
            idle = {each["thread_id"]: each for each in await client.threads.search(status="idle")}
            assert idle.keys() == {unused, named}
            assert idle[unused]["values"] is None
            assert await client.threads.search(status="error") == []
            talk = Talk(client, talk.id)
            state = await client.threads.get_state(talk.id)
            assert state["values"]["pending"] == state["interrupts"][0]["value"] == asked
            ended = await talk.answer(APPROVE)
            [memory] = (await client.store.search_items(["memories", "local"]))["items"]
    assert outcomes(ended) == [("calculate", "executed"), ("write_file", "executed")]
    assert (server.workspace / "kept.txt").read_text() == "buy milk"
    assert memory["value"] == {"text": "Monday"}


async def test_a_thread_that_the_server_forgot_is_still_its_users_alone(alice, bob, guarded):
    forgotten = str(uuid.uuid4())
    async with opened(guarded.ledger) as ledger:
        await ledger.touch(forgotten, user="alice", status="waiting")
    said = {"messages": [{"role": "user", "content": "hello"}]}
    with pytest.raises(Exception, match="not found"):
        await bob.threads.create(thread_id=forgotten, if_exists="do_nothing")
    with pytest.raises(Exception, match="not found"):
        await bob.runs.wait(forgotten, GRAPH, input=said, if_not_exists="create")
    with pytest.raises(Exception, match="not found"):
        await bob.threads.get_state(forgotten)
    made = await alice.threads.create(thread_id=forgotten, if_exists="do_nothing")
    assert made["metadata"]["owner"] == "alice"


async def test_the_terminals_thread_is_gone_on_with_on_the_server(server, client, talk):
    named = str(uuid.uuid4())
    async with opened(server.ledger) as ledger:
        await ledger.touch(named, user="local", status="answered")
    made = await client.threads.create(thread_id=named, if_exists="do_nothing")
    assert made["metadata"]["graph_id"] == GRAPH


@pytest.mark.slow
async def test_what_no_turn_ever_admitted_is_its_users_alone_after_a_kill(tmp_path):
    secret = {"messages": [{"role": "user", "content": "her secret"}]}
    too_long = {"messages": [{"role": "user", "content": "her secret " * 20_000}]}
    with Server(tmp_path, GUARDED, {}) as server:
        async with get_client(url=server.url, headers=BEARERS["alice"]) as alice:
            updated, refused, ran = [
                (await alice.threads.create(graph_id=GRAPH))["thread_id"] for _ in range(3)
            ]
            await alice.threads.update_state(updated, secret, as_node="__start__")
            await alice.runs.wait(refused, GRAPH, input=too_long, raise_error=False)
            await alice.threads.update_state(ran, secret, as_node="__start__")
            copied = (await alice.threads.copy(ran))["thread_id"]
            assert (await alice.runs.wait(ran, GRAPH, input=None))["response"]
            assert (await alice.runs.wait(copied, GRAPH, input=None))["response"]
        server.kill()
        server.start()
        hers = (updated, refused, ran, copied)
        async with get_client(url=server.url, headers=BEARERS["bob"]) as bob:
            for thread in hers:
                with pytest.raises(Exception, match="not found"):
                    await bob.threads.create(thread_id=thread, if_exists="do_nothing", graph_id=GRAPH)
                with pytest.raises(Exception, match="not found"):
                    await bob.runs.wait(thread, GRAPH, input=secret, if_not_exists="create")
                with pytest.raises(Exception, match=r"(?i)not found"):
                    await bob.threads.get_state(thread)
        async with get_client(url=server.url, headers=BEARERS["alice"]) as alice:
            for thread in hers:
                await alice.threads.create(thread_id=thread, if_exists="do_nothing", graph_id=GRAPH)
                assert "her secret" in str(await alice.threads.get_state(thread))


async def test_steps_of_which_nobody_knows_whose_they_are_are_shown_to_no_user(alice, bob, guarded):
    thread = (await alice.threads.create(graph_id=GRAPH))["thread_id"]
    said = {"messages": [{"role": "user", "content": "her secret"}]}
    await alice.threads.update_state(thread, said, as_node="__start__")
    async with opened(guarded.ledger) as ledger:
        await ledger.forget_thread(thread, audit=True)
    for client in (alice, bob):
        with pytest.raises(Exception, match="not found"):
            await client.threads.create(thread_id=thread, if_exists="do_nothing")
