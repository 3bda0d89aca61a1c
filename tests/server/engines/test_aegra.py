"""Two workers of aegra on one Postgres, one of them killed again and again under clients that approve."""

import asyncio
import random
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import APIError

from tests.server.engines.aegra import Workers, redis
from tests.server.talking import GRAPH, opened

AT_ONCE = 20
TALKS = 100
"""Threads."""
KILLS_AFTER_S = (2.0, 6.0)
DAWDLES_S = 3.0
"""From an effect to its tool's end: that kills strike in between."""
GIVES_UP_AFTER_S = 1_500
GONE = (httpx.HTTPError, APIError, OSError)
"""How a client notices that a worker is gone, or was in the middle of it."""


@pytest.fixture
def workers(tmp_path: Path, database_url: str) -> Iterator[Workers]:
    with redis(tmp_path) as redis_url:
        workers = Workers(tmp_path, database_url, redis_url, DAWDLES_S)
        workers.migrate()
        try:
            yield workers
        finally:
            workers.close()


async def converse(workers: Workers, thread: str, path: str, limit: asyncio.Semaphore) -> set[str]:
    """Bring a thread to its end, whichever worker answers; return the writes that were in doubt."""
    doubts: set[str] = set()
    async with limit:
        while True:
            with suppress(*GONE):
                url = random.choice(workers.urls)
                async with get_client(url=url, timeout=30) as client:
                    ended, doubted = await _step(workers, client, thread, path)
                    doubts |= {path} if doubted else set()
                    if ended:
                        return doubts
            await asyncio.sleep(0.3)


async def _step(workers: Workers, client: LangGraphClient, thread: str, path: str) -> tuple[bool, bool]:
    """Do what comes next; return whether it has ended, and whether there was a doubt."""
    await client.threads.create(thread_id=thread, graph_id=GRAPH, if_exists="do_nothing")
    if any(run["status"] in {"pending", "running"} for run in await client.runs.list(thread)):
        return False, False
    state = await client.threads.get_state(thread)
    values: Any = state["values"]
    if not (values or {}).get("messages"):
        message = {"role": "user", "content": f'write "x" to {path}', "id": f"said-{thread}"}
        await client.runs.create(thread, GRAPH, input={"messages": [message]})
    elif state["next"] and values.get("pending"):
        [action] = values["pending"]["action_requests"]
        happened = "attempt" in action and path in workers.effects.read_text().split()
        decision = {"type": "reject" if happened else "approve", "tool_call_id": action["tool_call_id"]}
        await client.runs.create(thread, GRAPH, command={"resume": {"decisions": [decision]}})
        return False, "attempt" in action
    elif state["next"]:
        await client.runs.create(thread, GRAPH, input=None)
    else:
        assert values["response"], values
        return True, False
    return False, False


async def kill_again_and_again(workers: Workers, urls: list[str]) -> int:
    """Kill one worker after the other, and start it again; return how often, when cancelled."""
    kills = 0
    try:
        while True:
            await asyncio.sleep(random.uniform(*KILLS_AFTER_S))
            url = urls[kills % len(urls)]
            workers.kill(url)
            kills += 1
            await asyncio.to_thread(workers.start, url)
    except asyncio.CancelledError:
        pass
    return kills


@pytest.mark.prove(sampled=False)
@pytest.mark.timeout(3_600)
async def test_each_write_happens_once_on_two_workers_of_which_one_is_killed_every_few_seconds(
    workers, database_url, tell
):
    urls = [workers.start(), workers.start()]
    talks = {str(uuid.uuid4()): f"file-{number}.txt" for number in range(TALKS)}
    limit, begun = asyncio.Semaphore(AT_ONCE), time.monotonic()
    killing = asyncio.create_task(kill_again_and_again(workers, urls))
    async with asyncio.timeout(GIVES_UP_AFTER_S):
        doubts = await asyncio.gather(*(converse(workers, *talk, limit) for talk in talks.items()))
    took = time.monotonic() - begun
    killing.cancel()
    kills = await killing

    assert Counter(workers.effects.read_text().split()) == Counter(talks.values())
    async with opened(database_url) as ledger:
        rows = await ledger.audit()
        threads = {row["thread"]: row["status"] for row in await ledger.threads()}
    assert Counter(row["args"]["path"] for row in rows) == Counter(talks.values())
    asked = set().union(*doubts)
    unknown = {row["args"]["path"] for row in rows if row["status"] == "unknown"}
    assert (
        unknown <= asked
    )  # it had happened, was cut short, and a person said that it is not to be run again
    assert {row["status"] for row in rows} <= {"executed", "unknown"}
    assert threads == dict.fromkeys(talks, "answered")
    async with get_client(url=random.choice(workers.urls)) as client, opened(database_url) as ledger:
        await client.threads.delete(next(iter(talks)))
        assert (await ledger.thread(next(iter(talks))))["status"] == "pruning"
    told = f"{len(talks)} threads with a gated write on two workers in {took:.0f} s, {kills} kills"
    tell(f"{told}: all ended, each write happened once; {len(asked)} asked about")
