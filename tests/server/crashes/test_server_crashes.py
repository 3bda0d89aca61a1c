"""kill -9 of `twobrain serve` at any moment, under clients that ask and approve; each time they go on."""

import asyncio
import os
import random
import re
import subprocess
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient

from tests.server.serving import HOUSE
from tests.server.talking import GRAPH, opened
from tests.server.test_serve import COMMAND, await_start, free_port

AT_ONCE = 3
"""Conversations."""
GIVES_UP_AFTER_S = 120
LOST = (httpx.TransportError, asyncio.CancelledError)
"""How a client notices that its server is gone."""
SAMPLED_LIFE_S = 4.0
"""Within which a sample kills; a proof measures how long the conversations take."""
WHEN = re.compile(r"on \d{4}-\d\d-\d\d at \d\d:\d\d:\d\d UTC")
TOOLS = '''
import nodes.resources
import time
from pathlib import Path
from tests.behaviour.crashes.process import Home
from tools.declaration import tool
from tools.registry import Registry

def happen(name):
    Home(Path(HOME)).happen(name)
    time.sleep(0.3)  # it has happened, and nobody knows yet

@tool(effect="write", confirm=False)
def remember(text: str) -> str:
    """Remember, unasked."""
    happen(text.replace(" ", "-"))
    return text

@tool(effect="write")
def write_file(path: str, content: str) -> str:
    """Write, if the person agrees."""
    happen(path)
    return content

nodes.resources.open_registry = lambda _: Registry([remember, write_file])
'''
"""What the server's interpreter runs first: tools that write, of which nobody can look anything up."""


@dataclass
class Served:
    """A household whose server is killed and started again."""

    folder: Path
    asked_about: list[str] = field(default_factory=list)
    """What was read of calls in doubt."""
    ended: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        (self.folder / "sitecustomize.py").write_text(TOOLS.replace("HOME", repr(str(self.folder))))
        path = f"{self.folder}{os.pathsep}{HOUSE}"
        self._environ = {"PATH": os.defpath, "PYTHONPATH": path, "HOME": str(self.folder)}
        self._environ["TWOBRAIN_DATA_DIR"] = str(self.folder / "data")

    @property
    def happened(self) -> Counter[str]:
        effects = self.folder / "effects"
        return Counter(effects.read_text().split() if effects.exists() else ())

    def unended(self, talks: dict[str, str]) -> dict[str, str]:
        return {thread: words for thread, words in talks.items() if thread not in self.ended}

    @contextmanager
    def served(self) -> Iterator[None]:
        """Serve until the end, which is always a kill -9."""
        log = self.folder / "log"
        with log.open("w") as out:
            command = [*COMMAND, "--port", self.url.rpartition(":")[2]]
            process = subprocess.Popen(command, cwd=self.folder, env=self._environ, stdout=out, stderr=out)
        try:
            await_start(process, self.url, log)
            yield
        finally:
            process.kill()
            process.wait()

    async def converse(self, thread: str, words: str) -> None:
        """Be a client that brings a conversation to its end."""
        async with get_client(url=self.url, timeout=GIVES_UP_AFTER_S) as client:
            await client.threads.create(thread_id=thread, graph_id=GRAPH, if_exists="do_nothing")
            await self._go_on(client, thread, words)
        self.ended.add(thread)

    async def _go_on(self, client: LangGraphClient, thread: str, words: str) -> None:
        said = {"messages": [{"role": "user", "content": words, "id": f"said-{thread}"}]}
        while True:
            for run in await client.runs.list(thread):
                if run["status"] in {"pending", "running"}:  # the server has begun it again by itself
                    await client.runs.join(thread, run["run_id"])
            state = await client.threads.get_state(thread)
            values: Any = state["values"]
            if not values:
                await client.runs.wait(thread, GRAPH, input=said)
            elif state["interrupts"]:
                await client.runs.wait(thread, GRAPH, command={"resume": not self._is_in_doubt(values)})
            elif state["next"]:
                await client.runs.wait(thread, GRAPH, input=None)
            else:
                return

    def _is_in_doubt(self, values: dict[str, Any]) -> bool:
        doubts = [a for a in values["pending"]["action_requests"] if "attempt" in a]
        self.asked_about += [action["description"] for action in doubts]
        return bool(doubts)


async def until_killed(house: Served, talks: dict[str, str], seconds: float | None) -> float:
    """Let clients converse until the server is killed, by default when all have ended; return how long."""
    with house.served():
        begun = time.monotonic()
        clients = [asyncio.create_task(house.converse(*talk)) for talk in talks.items()]
        await asyncio.wait(clients, timeout=GIVES_UP_AFTER_S if seconds is None else seconds)
        took = time.monotonic() - begun
    for client in clients:
        client.cancel()
    gone = await asyncio.gather(*clients, return_exceptions=True)
    told = [error for error in gone if error and not isinstance(error, LOST)]
    assert told == []
    return took


def talks_of(number: int) -> dict[str, str]:
    """Return new conversations of four writes each, whose effects have names of their own."""
    names = [f"{number}-{index}" for index in range(AT_ONCE)]
    return {
        str(uuid.uuid4()): f'remember that rain-{name} and write "x" to a-{name}.txt '
        f'then remember that snow-{name} and write "y" to b-{name}.txt'
        for name in names
    }


def effects_of(words: str) -> list[str]:
    return re.findall(r"(?:that|to) (\S+)", words)


@pytest.mark.slow
@pytest.mark.prove
@pytest.mark.timeout(3_600)
@pytest.mark.filterwarnings("ignore:Request failed, attempting reconnect")
async def test_whenever_the_server_is_killed_no_write_is_doubled_and_none_is_lost(tmp_path, proving, tell):
    house, chance, everything = Served(tmp_path), random.Random(), talks_of(0)
    kills = 100 if proving else 1
    life = await until_killed(house, everything, None) if proving else SAMPLED_LIFE_S
    for _ in range(kills):
        if house.ended >= everything.keys():
            everything |= talks_of(len(everything))
        await until_killed(house, house.unended(everything), chance.uniform(0, life))
    await until_killed(house, house.unended(everything), None)

    assert house.ended == everything.keys()
    unknown = 0
    async with opened(tmp_path / "data" / "ledger.db") as ledger:
        rows = {thread: await ledger.audit(thread=thread) for thread in everything}
    for thread, words in everything.items():
        for effect in effects_of(words):
            doubted = [row for row in rows[thread] if effect in row["args"] and row["status"] == "unknown"]
            times = house.happened[effect]
            assert times == 1 or (times == 0 and doubted), (effect, times, rows[thread])
            unknown += len(doubted)
    assert [words for words in house.asked_about if not WHEN.search(words)] == []
    assert unknown <= len(house.asked_about)
    told = f"{kills} kills of the server under {len(everything)} conversations of four writes"
    tell(f"{told}: 0 doubled, 0 lost, {len(house.asked_about)} asked about")
