"""What the event loop's thread takes for what strangers send, at three sizes a decade apart."""

import asyncio
import gc
import json
import time
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import pairwise
from typing import Any

import pytest

from base.json_size import values_in
from models import reply_bodies
from models.providers import openai
from tests.behaviour.household import House, obedient
from tests.tools.mcp.test_sent_once import Bank, pay, serving
from tests.wires.brain import Call, Heard, Raw, Reply
from tests.wires.cards import at
from tests.wires.clients import KINDS
from tests.wires.values import PLACES, WAYS, reply_with, row
from tools.mcp import transport
from tools.policy.taint import links_in

HELD_MS = 100
"""Longest that others may wait for the event loop."""
SLOPE = 13
"""Times what a tenth takes: somewhat more than ten, for clocks and caches."""
LEAST_MS = 20
"""Of CPU; less says nothing about how it grows."""
SAID = {
    "text": lambda size: Reply("so it is. " * (size // 10)),
    "arguments in pieces": lambda size: Reply(calls=(_reading(size),), pieces=size // 8),
    "arguments in one": lambda size: Reply(calls=(_reading(size),), pieces=1),
    "malformed, in pieces": lambda size: Reply(calls=(_malformed(size),), pieces=size // 8),
    "malformed, in one": lambda size: Reply(calls=(_malformed(size),), pieces=1),
}
MESSAGES = {
    "words": lambda size: "so it is " * (size // 9),
    "one word": lambda size: "a" * size,
    "invisible, then a word": lambda size: "\u200b" * size + "a",
    "links, then asked about": lambda size: " ".join(f"https://e{n}.org/a" for n in range(size // 19)),
    "hosts, then asked about": lambda size: " ".join(f"e{n}.org" for n in range(size // 9)),
}
UNITS = ("[]", "{}", "0", '"a"', '{"a": [1]}', '{"id": "c", "function": {"name": "n", "arguments": "{}"}}')
READ = 'read_file {"path": "page.txt"} then calculate {"expression": "6*7"}'


def _reading(size: int) -> Call:
    return Call("calculate", {"expression": "1" * size})


def _malformed(size: int) -> Call:
    return Call("calculate", Raw(json.dumps({"expression": "1" * size})[:-1] + ' "'))


def _says(reply: Reply) -> Callable[[Heard], Reply]:
    """Return a brain that says this once, and little else."""

    def brain(heard: Heard) -> Reply:
        return Reply("Done.") if heard.results or heard.request == "Hello" else reply

    return brain


def _short(heard: Heard) -> Reply:
    """Do what a request spells out, and say little."""
    said = obedient(heard)
    return said if said.calls else Reply("Done.")


async def _measured(work: Callable[[], Awaitable[Any]]) -> tuple[float, float]:
    """Return the milliseconds of CPU that some work takes of this thread, and the most at one go.

    To look for garbage among all that a process has takes 130 ms here, now and then, whatever comes.
    """
    gc.collect()
    gc.freeze()
    longest = 0.0

    async def watch() -> None:
        nonlocal longest
        while True:
            before = time.thread_time()
            await asyncio.sleep(0.001)
            longest = max(longest, time.thread_time() - before)

    begun = time.thread_time()
    watcher = asyncio.create_task(watch())
    await work()
    watcher.cancel()
    return (time.thread_time() - begun) * 1_000, longest * 1_000


async def _ask(house: House, *requests: str) -> list[tuple[float, float]]:
    """Return what each turn of a conversation takes, after a first one that imports and connects."""
    house.workspace.mkdir(parents=True, exist_ok=True)
    (house.workspace / "page.txt").write_text("By a stranger.")
    async with house.open() as orchestrator:
        context = house.context()
        await orchestrator.ask("Hello", thread_id="warm", context=context)
        asked = [partial(orchestrator.ask, each, thread_id="t", context=context) for each in requests]
        return [await _measured(each) for each in asked]


def _told(tell: Callable[[str], None], what: str, taken: dict[int, tuple[float, float]]) -> None:
    """Tell and check a row: size, CPU and the longest hold, in milliseconds."""
    tell(f"{what:45}" + "".join(f"{n:>10,}: {cpu:7.0f} ({held:4.0f})" for n, (cpu, held) in taken.items()))
    costs = [cpu for cpu, _ in taken.values()]
    assert all(large < SLOPE * max(small, LEAST_MS) for small, large in pairwise(costs))
    assert max(held for _, held in taken.values()) < HELD_MS


@pytest.mark.prove(sampled=False)
@pytest.mark.parametrize("what", SAID)
@pytest.mark.parametrize("kind", KINDS)
async def test_a_reply(open_wire, furnish, tell, kind, what):
    if kind == "gemini" and what.startswith("malformed"):
        pytest.skip("its arguments come as an object")
    sizes = (10_000, 100_000, 900_000) if what.endswith("in one") else (1_000, 10_000, 100_000)
    wire = open_wire(kind)
    house = furnish({"planner": at(wire, timeout_s=600)})
    taken = {}
    for size in sizes:
        wire.brain = _says(SAID[what](size))
        [taken[size]] = await _ask(house, f"Say {size}")
    _told(tell, f"{kind}: {what}", taken)


@pytest.mark.prove(sampled=False)
async def test_the_calls_of_a_reply(open_wire, furnish, tell):
    house = furnish({"planner": at(open_wire("openai", brain=_short), timeout_s=600)})
    taken = {}
    for count in (1, 10, 100):
        calls = [f'calculate {{"expression": "{n}+1"}}' for n in range(count)]
        [taken[count]] = await _ask(house, " & ".join(calls))
    _told(tell, "calls of a reply", taken)


@pytest.mark.prove(sampled=False)
@pytest.mark.parametrize("what", MESSAGES)
async def test_a_message(open_wire, furnish, tell, what):
    house = furnish({"planner": at(open_wire("openai", brain=_short), timeout_s=600)})
    taken = {}
    for size in (1_700, 17_000, 170_000):
        first, second = await _ask(house, MESSAGES[what](size), READ)
        taken[size] = (first[0] + second[0], max(first[1], second[1]))
    _told(tell, f"a message: {what}", taken)


@pytest.mark.prove(sampled=False)
async def test_the_links_of_a_conversation_that_another_process_began(open_wire, furnish, tell):
    wire = open_wire("openai", brain=_short)
    taken = {}
    for size in (1_700, 17_000, 170_000):
        said = MESSAGES["hosts, then asked about"](size)

        def brain(heard: Heard, said: str = said) -> Reply:
            return Reply(said) if heard.results else _short(heard)

        house = furnish({"planner": at(wire, timeout_s=600, streaming=False)})
        wire.brain = _short
        await _ask(house, *(f"{number} {said}" for number in range(4)))
        links_in.cache_clear()
        wire.brain = brain
        [taken[size]] = await _ask(house, READ)
    _told(tell, "four messages of hosts, and an answer", taken)


@pytest.mark.prove(sampled=False)
@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
async def test_a_reply_of_values(open_wire, furnish, tell, kind, way, place, unit):  # noqa: PLR0913, PLR0917 (fixtures)
    wire = open_wire(kind)
    house = furnish({"planner": at(wire, timeout_s=600, streaming=way == "stream")})
    taken = {}
    for size in _sizes(unit, openai.MOST_VALUES if kind == "openai" else reply_bodies.MOST_VALUES):
        said = reply_with(kind, row(unit, size), way, place)
        wire.brain = lambda heard, said=said: Reply("Hello.") if heard.request == "Hello" else said
        [taken[size]] = await _ask(house, f"Say {size}")
    _told(tell, f"{kind}, {way}, {place}: {unit}", taken)


@pytest.mark.prove(sampled=False)
@pytest.mark.parametrize("unit", UNITS[:4])
async def test_what_an_mcp_server_answers(tmp_path, tell, unit):
    taken = {}
    with serving(Bank(tmp_path)) as bank:
        await pay(bank, tmp_path)
        for size in _sizes(unit, transport.MOST_VALUES):
            found = {"rows": json.loads(row(unit, size))}
            bank.answers = [{"result": {"content": [], "structuredContent": found}}]
            taken[size] = await _measured(partial(pay, bank, tmp_path))
    _told(tell, f"MCP over HTTP: {unit}", taken)


def _sizes(unit: str, most: int) -> list[int]:
    """Return sizes a decade apart, and the largest that is read, in characters."""
    read = (most - 50) // (1 + values_in(unit.encode())) * (len(unit) + 2)
    return sorted({1_000, 10_000, read, 100_000, 1_000_000})
