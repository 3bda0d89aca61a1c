"""kill -9 at any moment of a conversation that writes, again and again; each time a person goes on."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from errors import UnknownThreadError
from graphs.events import Result
from tests.forked import FORKS
from tests.graphs.crashes.process import Home, check_pairs
from tools.declaration import Here, Tool, tool

WRITES = 'remember that it rains and write "x" to a.txt then remember that it snows and write "y" to b.txt'
ENDS_WITHIN_S = 60


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


def live(directory: Path, thread: str) -> None:
    """Be the process that a person talks to on a thread until it is answered."""
    asyncio.run(_live(Home(directory, tools=tools), thread))


async def _live(home: Home, thread: str) -> None:
    async with home.opened() as orchestrator:
        try:
            result = await orchestrator.proceed(thread)
        except UnknownThreadError:
            result = await orchestrator.ask(WRITES, thread_id=thread)
        while result.pending:
            result = await orchestrator.resume(thread, not _is_in_doubt(result.pending))


def _is_in_doubt(request: dict[str, Any]) -> bool:
    return any("attempt" in action for action in request["action_requests"])


def killed_after(home: Home, thread: str, seconds: float) -> bool:
    """Let a process live for some time; return whether it was killed before it was done."""
    process = FORKS.Process(target=live, args=(home.directory, thread))
    process.start()
    process.join(seconds)
    process.kill()
    process.join(ENDS_WITHIN_S)
    assert process.exitcode in {0, -9}
    return process.exitcode == -9


def time_of_a_life(home: Home) -> float:
    """Return the seconds that a whole conversation takes, once the first has paid for the imports."""
    for thread in ("first", "timed"):
        began = time.monotonic()
        assert not killed_after(home, thread, ENDS_WITHIN_S)
    return time.monotonic() - began


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
async def test_whenever_a_process_is_killed_no_write_is_doubled_and_none_is_lost(tmp_path, proving, tell):
    home, chance, threads, kills = Home(tmp_path, tools=tools), random.Random(), [], 0
    life = await asyncio.to_thread(time_of_a_life, home)
    while kills < (200 if proving else 6):
        threads.append(f"t{len(threads)}")
        while await asyncio.to_thread(killed_after, home, threads[-1], chance.uniform(0, life)):
            kills += 1

    happened, unknown = Counter(home.effects), 0
    for result, rows in await told(home, threads):
        assert result.stop_reason == "answered"
        assert [call["tool"] for call in result.tool_calls] == ["remember", "write_file"] * 2
        for row in rows:
            times = happened[f"{row['thread']}/{row['call_id']}"]
            assert times == 1 or (times == 0 and row["status"] == "unknown"), row
            assert row["status"] == "executed" or (row["status"] == "unknown" and row["doubts"]), row
            unknown += row["status"] == "unknown"
        assert {r["status"] for r in rows} == {call["status"] for call in result.tool_calls}
    told_of = f"{kills} kills in {len(threads)} conversations of four writes"
    tell(f"{told_of}: 0 doubled, 0 lost, {unknown} asked about")
