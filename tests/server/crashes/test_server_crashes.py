"""kill -9 of `twobrain serve` at any moment, under clients that ask and approve; each time they go on.

Half of the moments are random, half are set by the world: just after something happened in it.
"""

import asyncio
import os
import random
import re
import subprocess
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient

from base.texts import moment
from tests.server.serving import HOUSE
from tests.server.talking import GRAPH, opened
from tests.server.test_serve import COMMAND, await_start, free_port

AT_ONCE = 6
"""Conversations."""
GIVES_UP_AFTER_S = 300
WHEN = re.compile(r"on (\d{4}-\d\d-\d\d at \d\d:\d\d:\d\d UTC)")
LOST = (httpx.TransportError, asyncio.CancelledError)
"""How a client notices that its server is gone."""
DAWDLES_S = 10.0
"""From an effect to its tool's end, where a kill is to strike in between."""
HURRIES_S = 0.03
"""Where it is to strike about when the outcome is recorded."""
SOME_S = 0.3
SAMPLED_S = 10.0
"""How long a server lives at most where not all is run."""
SITE = """
import sys
if {"dev", "aegra_api.main:app"} & {*sys.orig_argv}:  # no command that becomes a server: it takes seconds
    import world
"""
WORLD = '''
import nodes.resources
import os
import time
from tools.declaration import tool
from tools.registry import Registry

def happen(name):
    with open(EFFECTS, "a") as file:
        file.write(f"{name}\\n")
    time.sleep(float(os.environ["DAWDLES_S"]))  # it has happened, and nobody knows yet

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
"""What the server imports first: tools that write, of which nobody can look anything up."""


@dataclass(frozen=True)
class Doubt:
    """A call that was cut short: what it does in the world, and when it began."""

    effect: str
    began: str


@dataclass
class Served:
    """A household whose server is killed and started again."""

    folder: Path
    doubts: set[Doubt] = field(default_factory=set)
    """What was running when the server was killed, as the ledger has it."""
    asked_about: set[Doubt] = field(default_factory=set)
    ended: set[str] = field(default_factory=set)
    made: set[str] = field(default_factory=set)
    """Threads of which a client knows that the server has made them."""
    heard: set[str] = field(default_factory=set)
    """Messages of which a client knows that they arrived."""

    def __post_init__(self) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        self.effects = self.folder / "effects"
        self.effects.touch()
        (self.folder / "sitecustomize.py").write_text(SITE)
        (self.folder / "world.py").write_text(WORLD.replace("EFFECTS", repr(str(self.effects))))
        path = f"{self.folder}{os.pathsep}{HOUSE}"
        self._environ = {"PATH": os.defpath, "PYTHONPATH": path, "HOME": str(self.folder)}
        self._environ["TWOBRAIN_DATA_DIR"] = str(self.folder / "data")
        self.ledger = self.folder / "data" / "ledger.db"

    @property
    def happened(self) -> Counter[str]:
        return Counter(self.effects.read_text().split())

    def unended(self, talks: dict[str, str]) -> dict[str, str]:
        return {thread: words for thread, words in talks.items() if thread not in self.ended}

    @contextmanager
    def served(self, dawdles_s: float) -> Iterator[None]:
        """Serve until the end, which is always a kill -9."""
        log = self.folder / "log"
        with log.open("w") as out:
            command = [*COMMAND, "--port", self.url.rpartition(":")[2]]
            environ = {**self._environ, "DAWDLES_S": str(dawdles_s)}
            process = subprocess.Popen(command, cwd=self.folder, env=environ, stdout=out, stderr=out)
        try:
            await_start(process, self.url, log)
            yield
        finally:
            process.kill()
            process.wait()

    async def converse(self, thread: str, words: str) -> None:
        """Be a client that brings a conversation to its end."""
        async with get_client(url=self.url, timeout=GIVES_UP_AFTER_S) as client:
            if thread not in self.made:
                await client.threads.create(thread_id=thread, graph_id=GRAPH, if_exists="do_nothing")
                self.made.add(thread)
            for said in (words, "thanks"):
                await self._go_on(client, thread, said)
        self.ended.add(thread)

    async def _go_on(self, client: LangGraphClient, thread: str, words: str) -> None:
        message = {"role": "user", "content": words, "id": f"{words}-{thread}"}
        while True:
            for run in await client.runs.list(thread):
                if run["status"] in {"pending", "running"}:  # the server has begun it again by itself
                    await client.runs.join(thread, run["run_id"])
            state = await client.threads.get_state(thread)
            values: Any = state["values"]
            arrived = {each["id"] for each in (values or {}).get("messages", [])}
            assert {each for each in self.heard if each.endswith(thread)} <= arrived
            if message["id"] not in arrived:
                await client.runs.wait(thread, GRAPH, input={"messages": [message]})
                self.heard.add(message["id"])
            elif state["interrupts"]:
                decisions = [self._decide(action) for action in values["pending"]["action_requests"]]
                await client.runs.wait(thread, GRAPH, command={"resume": {"decisions": decisions}})
            elif state["next"]:
                await client.runs.wait(thread, GRAPH, input=None)
            else:
                return

    def _decide(self, action: dict[str, Any]) -> dict[str, Any]:
        """Agree; of what may have happened, look first."""
        effect, did_happen = effect_of(action["args"]), False
        if "attempt" in action:
            began = WHEN.search(action["description"])
            assert began, action["description"]
            self.asked_about.add(Doubt(effect, began[1]))
            did_happen = effect in self.happened
        return {"type": "reject" if did_happen else "approve", "tool_call_id": action["tool_call_id"]}

    async def check_list(self, *, have_ended: bool = False) -> None:
        """Check that the server lists every thread that a client was told of, as it stands."""
        async with get_client(url=self.url) as client:
            listed = {each["thread_id"]: each for each in await client.threads.search(limit=1_000)}
            assert self.made <= listed.keys()
            waiting = await client.threads.search(limit=1_000, status="interrupted")
            assert all(each["interrupts"] for each in waiting)
            for thread in self.ended if have_ended else ():
                assert listed[thread]["status"] == "idle"
                assert listed[thread]["values"]["response"]
                state: Any = await client.threads.get_state(thread)
                assert state["values"]["response"] == listed[thread]["values"]["response"]

    async def note_doubts(self) -> None:
        """Look at what was running when the server was killed."""
        async with opened(self.ledger) as ledger:
            rows = await ledger.audit()
        running = [row for row in rows if row["status"] == "running"]
        self.doubts |= {Doubt(effect_of(row["args"]), moment(row["started_at"])) for row in running}


Death = Callable[[Served], Awaitable[None]]
"""Returns when the server is to be killed."""


async def for_good(_: Served) -> None:
    """Let the conversations end."""
    await asyncio.Future()


async def at_any_moment(life_s: float, _: Served) -> None:
    await asyncio.sleep(random.uniform(0, life_s))


async def after_an_effect(house: Served) -> None:
    before = house.effects.stat().st_size
    while house.effects.stat().st_size == before:  # noqa: ASYNC110 (it is another process's)
        await asyncio.sleep(0.005)
    await asyncio.sleep(random.uniform(0, 0.05))


async def until_killed(house: Served, talks: dict[str, str], dawdles_s: float, death: Death) -> float:
    """Let clients converse until the server is killed, or all have ended; return how long."""
    with house.served(dawdles_s):
        begun = time.monotonic()
        await house.check_list()
        clients = [asyncio.create_task(house.converse(*talk)) for talk in talks.items()]
        ended = asyncio.gather(*clients, return_exceptions=True)
        everything = asyncio.ensure_future(asyncio.wait_for(ended, GIVES_UP_AFTER_S))
        killing = asyncio.ensure_future(death(house))
        await asyncio.wait([everything, killing], return_when=asyncio.FIRST_COMPLETED)
        took = time.monotonic() - begun
        if not killing.done():
            await house.check_list(have_ended=True)
    for task in (everything, killing, *clients):
        task.cancel()
    gone = await asyncio.gather(everything, killing, *clients, return_exceptions=True)
    told = [error for error in gone if isinstance(error, BaseException) and not isinstance(error, LOST)]
    assert told == []
    await house.note_doubts()
    return took


def talk_of(number: int) -> tuple[str, str]:
    """Return a new conversation of four writes, whose effects have names of their own."""
    first = f'remember that rain-{number} and write "x" to a-{number}.txt'
    return str(uuid.uuid4()), f'{first} then remember that snow-{number} and write "y" to b-{number}.txt'


def effects_of(words: str) -> list[str]:
    return re.findall(r"(?:that|to) (\S+)", words)


def effect_of(args: dict[str, Any]) -> str:
    return str(args.get("path") or args["text"])


@pytest.mark.slow
@pytest.mark.prove
@pytest.mark.timeout(7_200)
@pytest.mark.filterwarnings("ignore:Request failed, attempting reconnect")
async def test_whenever_the_server_is_killed_no_write_is_doubled_and_none_is_lost(tmp_path, proving, tell):
    house, everything = Served(tmp_path), dict(map(talk_of, range(AT_ONCE)))
    after_it = (DAWDLES_S, after_an_effect)
    deaths = [after_it, (SOME_S, partial(at_any_moment, SAMPLED_S))]
    if proving:
        life_s = await until_killed(house, everything, SOME_S, for_good)
        random_one = (SOME_S, partial(at_any_moment, life_s))
        deaths = [random_one, after_it, random_one, (HURRIES_S, after_an_effect)] * 10
    for dawdles_s, death in deaths:
        while len(house.unended(everything)) < AT_ONCE:
            everything |= [talk_of(len(everything))]
        await until_killed(house, house.unended(everything), dawdles_s, death)
    await until_killed(house, house.unended(everything), HURRIES_S, for_good)

    assert house.ended == house.made == everything.keys()
    assert house.happened == Counter(effect for words in everything.values() for effect in effects_of(words))
    assert house.doubts
    assert house.doubts <= house.asked_about
    told = f"{len(deaths)} kills of the server under {len(everything)} conversations of four writes"
    asked = f"{len(house.doubts)} calls cut short, each asked about with when it began"
    tell(f"{told}: 0 doubled, 0 lost; {asked}")
