"""kill -9 at any moment of a conversation that writes, again and again; each time a person goes on."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import pytest

from base.errors import UnknownThreadError
from graphs.result import Result
from tests.behaviour.crashes.process import Home, check_pairs
from tests.terminal.forked import FORKS
from tools.declaration import Here, Tool, tool

WRITES = 'remember that it rains and write "x" to a.txt then remember that it snows and write "y" to b.txt'
ENDS_WITHIN_S = 180


def tools(happen: Callable[[str], None]) -> list[Tool]:
    """Return tools that write, which run twice if called twice, and of which nobody can look anything up."""

    @tool(effect="write", confirm=False)
    def remember(here: Here, text: str) -> str:
        """Remember."""
        happen(here.idempotency_key)
        return text

    @tool(effect="write")
    def write_file(here: Here, path: str, content: str) -> str:
        """Write, if the person agrees."""
        happen(here.idempotency_key)
        return f"{path}: {content}"

    return [remember, write_file]


def live(directory: Path, environ: dict[str, str], thread: str, begun: Event) -> None:
    """Be the process that a person talks to on a thread until it is answered."""
    asyncio.run(_live(Home(directory, environ, tools=tools), thread, begun))


async def _live(home: Home, thread: str, begun: Event) -> None:
    async with home.opened() as orchestrator:
        begun.set()
        try:
            result = await orchestrator.proceed(thread)
        except UnknownThreadError:
            result = await orchestrator.ask(WRITES, thread_id=thread)
        while result.pending:
            result = await orchestrator.resume(thread, not _is_in_doubt(result.pending))


def _is_in_doubt(request: dict[str, Any]) -> bool:
    return any("attempt" in action for action in request["action_requests"])


def lived(home: Home, thread: str, seconds: float = ENDS_WITHIN_S) -> float | None:
    """Let a process converse; return how many seconds it took, None where it was killed after so many."""
    begun = FORKS.Event()
    process = FORKS.Process(target=live, args=(home.directory, home.environ, thread, begun))
    process.start()
    assert begun.wait(ENDS_WITHIN_S)
    since = time.monotonic()
    process.join(seconds)
    took = time.monotonic() - since
    process.kill()
    process.join(ENDS_WITHIN_S)
    assert process.exitcode in {0, -9}
    return took if process.exitcode == 0 else None


async def told(home: Home, threads: list[str]) -> list[tuple[Result, list[dict[str, Any]]]]:
    """Return how each thread ended, with what its audit says."""
    async with home.opened() as orchestrator:
        for thread in threads:
            await check_pairs(orchestrator, thread)
        return [
            (await orchestrator.result(thread), await orchestrator.ledger.audit(thread=thread))
            for thread in threads
        ]


@pytest.mark.prove
async def test_whenever_a_process_is_killed_no_write_is_doubled_and_none_is_lost(home, proving, tell):
    home.tools = tools
    chance, threads, kills = random.Random(), [], 0
    life = await asyncio.to_thread(lived, home, "timed")
    assert life
    while kills < (200 if proving else 4):
        threads.append(f"t{len(threads)}")
        while await asyncio.to_thread(lived, home, threads[-1], chance.uniform(0, life)) is None:
            kills += 1

    happened, unknown = Counter(home.effects), 0
    for result, rows in await told(home, threads):
        assert result.stop_reason == "answered"
        assert [call["tool"] for call in result.tool_calls] == ["remember", "write_file"] * 2
        for row in rows:
            times = happened[f"{row['user']}/{row['thread']}/{row['call_id']}"]
            assert times == 1 or (times == 0 and row["status"] == "unknown"), row
            assert row["status"] == "executed" or (row["status"] == "unknown" and row["unknown_outcomes"]), (
                row
            )
            unknown += row["status"] == "unknown"
        assert {r["status"] for r in rows} == {call["status"] for call in result.tool_calls}
    told_of = f"{kills} kills in {len(threads)} conversations of four writes"
    tell(f"{told_of}: 0 doubled, 0 lost, {unknown} asked about")
