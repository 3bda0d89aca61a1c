"""Writes, deletes, events, memories, undos and outside changes in any order, beside what they should be."""

import random
from dataclasses import dataclass, field
from typing import Any

import pytest

from base.errors import UndoError
from graphs.session import Orchestrator
from tests.behaviour.undo.conftest import Place, did

STEPS = 12
NAMES, WORDS = ("a.txt", "b.txt", "sub/c.txt"), ("milk", "tea", "rye", "")
Key = tuple[str, str]
"""A kind of thing and its name: a file, a memory, an event."""


def summary_of(event: str) -> str:
    return event.split("SUMMARY:")[1].split("\r\n", maxsplit=1)[0]


@dataclass
class Made:
    """A call, and what it did to one thing."""

    call_id: str
    key: Key
    before: Any
    after: Any
    is_undone: bool = False


@dataclass
class Sequence:
    """One person's day, and the world as it should be."""

    place: Place
    orchestrator: Orchestrator
    seed: int
    thread: str
    world: dict[Key, Any] = field(default_factory=dict)
    made: list[Made] = field(default_factory=list)
    undone: int = 0
    refused: int = 0

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)

    async def step(self) -> None:
        way = self.chance.choices((self.call, self.undo, self.outside), (4, 4, 2))[0]
        await way()
        assert await self.found() == self.world, (self.seed, way.__name__)

    async def call(self) -> None:
        there = [key for key in self.world if key[0] != "event"]
        match self.chance.choice(("write", "write", "delete", "remember", "forget", "event")):
            case "write":
                name, words = self.chance.choice(NAMES), self.chance.choice(WORDS)
                await self.did("write_file", ("file", name), words, path=name, content=words)
            case "remember":
                words = self.chance.choice(WORDS[:-1])
                await self.did("remember", ("memory", words), words, text=words)
            case "event":
                summary = f"{self.chance.choice(WORDS[:-1])} {self.seed}.{len(self.made)}"
                await self.did(
                    "add_event", ("event", summary), summary, summary=summary, start="2026-11-20T15:00"
                )
            case "delete" if files := [key for key in there if key[0] == "file"]:
                key = self.chance.choice(files)
                await self.did("delete_file", key, None, path=key[1])
            case "forget" if memories := [key for key in there if key[0] == "memory"]:
                key = self.chance.choice(memories)
                await self.did("forget", key, None, id=(await self.memories())[key[1]])

    async def did(self, tool: str, key: Key, after: Any, **args: Any) -> None:
        call_id = await did(self.orchestrator, tool, thread=self.thread, **args)
        self.made.append(Made(call_id, key, self.world.get(key), after))
        self.put(key, after)

    def put(self, key: Key, value: Any) -> None:
        self.world.pop(key, None)
        if value is not None:
            self.world[key] = value

    async def undo(self) -> None:
        if not self.made:
            return
        made = self.chance.choice(self.made[-4:])
        now = self.world.get(made.key)
        try:
            result = await self.orchestrator.undo(made.call_id, True, thread_id=self.thread)
        except UndoError:
            assert made.is_undone or now != made.after or made.before == made.after, (self.seed, made)
            self.refused += 1
            return
        assert result.receipts[0]["status"] == "executed", (self.seed, result)
        assert not made.is_undone
        assert now == made.after
        made.is_undone = True
        self.undone += 1
        self.put(made.key, made.before)

    async def outside(self) -> None:
        """Change one thing, or put back what was there."""
        if not self.made:
            return
        made = self.chance.choice(self.made)
        kind, name = made.key
        value = self.chance.choice((made.before, made.after, "changed", None))
        if kind == "file":
            path = self.place.workspace / name
            path.parent.mkdir(exist_ok=True, parents=True)
            path.unlink(missing_ok=True) if value is None else path.write_text(value)
        elif self.world.get(made.key) is None:
            return
        elif kind == "memory":
            value = None
            key = (await self.memories())[name]
            await self.orchestrator.graph.store.adelete(("memories", "local"), key)
        else:
            value = self.chance.choice(("changed", None))
            self.edit(name, value)
        self.put(made.key, value)

    def edit(self, summary: str, value: str | None) -> None:
        assert self.place.calendar
        ((name, text),) = [each for each in self.place.events().items() if summary_of(each[1]) == summary]
        if value is None:
            self.place.calendar.delete(f"home/{name}.ics")
        elif value not in text:
            changed = text.replace("SUMMARY:", f"DESCRIPTION:{value}\r\nSUMMARY:")
            kind = {"Content-Type": "text/calendar"}
            assert self.place.calendar.put(f"home/{name}.ics", content=changed, headers=kind).is_success

    async def memories(self) -> dict[str, str]:
        items = await self.orchestrator.graph.store.asearch(("memories", "local"), limit=100)
        return {item.value["text"]: item.key for item in items}

    async def found(self) -> dict[Key, Any]:
        """Return the world as it is."""
        root = self.place.workspace
        files = {
            ("file", str(path.relative_to(root))): path.read_text()
            for path in root.rglob("*")
            if path.is_file()
        }
        memories = {("memory", text): text for text in await self.memories()}
        texts = self.place.events().values()
        events = {
            ("event", summary_of(text)): "changed" if "DESCRIPTION:changed" in text else summary_of(text)
            for text in texts
        }
        return {**files, **memories, **events}


@pytest.mark.prove(sampled=False)
async def test_in_any_order_nothing_is_undone_that_was_not_done_and_nothing_twice(dated, proving, tell):
    undone, refused, sequences = 0, 0, 200 if proving else 20
    async with dated.open() as orchestrator:
        for seed in range(sequences):
            one = Sequence(dated, orchestrator, seed, f"t{seed}")
            one.world = await one.found()  # as the sequence before left it
            for _, summary in [key for key in one.world if key[0] == "event"]:
                one.edit(summary, None)
                one.put(("event", summary), None)
            for _ in range(STEPS):
                await one.step()
            undone, refused = undone + one.undone, refused + one.refused
    assert undone > sequences
    assert refused > sequences / 2
    tell(f"{sequences} sequences of {STEPS} steps: {undone} undone, {refused} refused, 0 wrong")
