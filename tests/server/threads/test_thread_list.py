"""The server's list of threads beside a terminal that uses the same data directory while it runs."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest
from langgraph_sdk.errors import ConflictError, NotFoundError

from base.settings import load_settings
from doctor.prune import prune
from graphs.session import Orchestrator, open_orchestrator
from nodes.context import Context
from tests.server.serving import Server
from tests.server.talking import APPROVE, Talk, opened, outcomes


@pytest.fixture
async def terminal(server: Server) -> AsyncIterator[Orchestrator]:
    """Return what the terminal's commands are given, in the data directory of the server that runs."""
    environ = {
        "TWOBRAIN_DATA_DIR": str(server.data_dir),
        "TWOBRAIN_CONFIG": str(server.folder / "twobrain.toml"),
    }
    async with open_orchestrator(load_settings(environ)) as orchestrator:
        yield orchestrator


async def listed(client, thread: str, **wanted) -> list[dict]:
    found = await client.threads.search(limit=1_000, **wanted)
    return [each for each in found if each["thread_id"] == thread]


async def test_what_waits_in_the_terminal_is_listed_and_answered_on_the_server(client, terminal, workspace):
    thread, name = str(uuid.uuid4()), f"{uuid.uuid4()}.txt"
    asked = (await terminal.ask(f'write "milk" to {name}', thread_id=thread)).pending
    [waits] = await listed(client, thread, status="interrupted")
    [[interrupt]] = waits["interrupts"].values()
    assert interrupt["value"] == waits["values"]["pending"] == asked
    assert waits["metadata"]["graph_id"] == "orchestrator"

    ended = await Talk(client, thread).answer(APPROVE)
    assert outcomes(ended) == [("write_file", "executed")]
    assert (workspace / name).read_text() == "milk"
    assert await listed(client, thread, status="interrupted") == []
    assert (await terminal.result(thread)).response == ended["response"]


async def test_what_waits_on_the_server_is_answered_in_the_terminal_and_not_listed_as_waiting(
    client, terminal, talk, workspace
):
    name = f"{uuid.uuid4()}.txt"
    await talk.say(f'write "milk" to {name}')
    assert talk.id in [each["thread_id"] for each in await terminal.pending()]
    await terminal.resume(talk.id, True)
    assert (workspace / name).read_text() == "milk"
    assert await listed(client, talk.id, status="interrupted") == []
    [idle] = await listed(client, talk.id, status="idle")
    assert idle["values"]["response"]
    assert idle["interrupts"] == {}
    assert (await client.threads.get(talk.id))["status"] == "idle"


async def test_a_turn_of_the_terminals_that_is_cut_short_is_listed_and_gone_on_with(client, terminal):
    thread = str(uuid.uuid4())
    async with aclosing(terminal.stream("what is 12*7", thread_id=thread)) as events:
        await anext(events)
    [cut_short] = await listed(client, thread)
    assert cut_short["status"] == "error"
    assert "84" in (await Talk(client, thread).run(input=None))["response"]
    assert [each["status"] for each in await listed(client, thread)] == ["idle"]


async def test_a_thread_at_work_in_the_terminal_is_listed_as_busy_and_not_deleted(client, terminal):
    thread = str(uuid.uuid4())
    await terminal.ask("hello", thread_id=thread)
    async with terminal.turns.of(thread):
        await terminal.ledger.touch(thread, user="local", status="running")
        assert [each["status"] for each in await listed(client, thread)] == ["busy"]
        with pytest.raises(ConflictError, match="under way"):
            await client.threads.delete(thread)
    assert [each["status"] for each in await listed(client, thread)] == ["idle"]


async def test_of_anothers_threads_whoever_brings_no_token_lists_none(client, terminal):
    hers = str(uuid.uuid4())
    await terminal.ask("hello", thread_id=hers, context=Context(user="alice"))
    assert await listed(client, hers) == []
    with pytest.raises(NotFoundError):
        await client.threads.get_state(hers)


async def test_a_deleted_thread_is_gone_from_the_disk_and_its_calls_stay_on_record(
    client, terminal, talk, server, audit
):
    await talk.say("what is 12*7")
    await client.threads.delete(talk.id)
    assert await listed(client, talk.id) == []
    async with opened(server.ledger) as ledger:
        assert await ledger.thread(talk.id) is None
    assert await terminal.graph.checkpointer.aget_tuple(terminal.config(talk.id)) is None
    assert [call["tool"] for call in await audit(talk)] == ["calculate"]


async def test_a_run_without_a_thread_leaves_none_listed(client, server):
    said = {"messages": [{"role": "user", "content": "what is 12*7"}]}
    before = {each["thread_id"] for each in await client.threads.search(limit=1_000)}
    await client.runs.wait(None, "orchestrator", input=said)
    async with asyncio.timeout(10):
        while {each["thread_id"] for each in await client.threads.search(limit=1_000)} - before:  # noqa: ASYNC110
            await asyncio.sleep(0.05)  # the server deletes it after it has answered
    async with opened(server.ledger) as ledger:
        assert {row["thread"] for row in await ledger.threads(user="local")} <= before


@pytest.mark.slow
async def test_what_the_terminal_prunes_is_not_listed_any_more(client, terminal):
    thread = str(uuid.uuid4())
    await terminal.ask("hello", thread_id=thread)
    assert len(await listed(client, thread)) == 1
    gone = await prune(terminal, time.time())
    assert thread in gone.threads
    assert await listed(client, thread) == []
    with pytest.raises(NotFoundError):
        await client.threads.get_state(thread)
