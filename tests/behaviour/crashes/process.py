"""An orchestrator whose tools leave a line in a file for each effect, and ways to cut it short.

As a process, see `start`: VERB is `ask`, `approve` or `click` (ten times at once). It prints the result, and
ends when its standard input does. DEATH is `never`, `during:TOOL` (after the effect) or `recorded:TOOL`
(after the outcome is in the ledger, before any checkpoint knows).
"""

import asyncio
import itertools
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from langchain_core.messages import AIMessage, ToolMessage
from langgraph.types import Command

from base.errors import NothingPendingError
from base.settings import Settings, load_settings
from graphs.result import Result
from graphs.session import Orchestrator
from ledger.ledger import Ledger
from ledger.records import CallKey
from models.call import Caller
from nodes.resources import Resources, open_steps, place_of, shared_stores
from storage.checkpoints.saver import open_checkpoints
from storage.checkpoints.sqlite_file import nothing as unhindered
from tests.terminal.forked import Forked
from tools.declaration import Here, Tool, tool
from tools.registry import Registry

Happen = Callable[[str], None]
SAID = {"done.txt": True, "undone.txt": False, "unclear.txt": None}
"""By file, whether its deletion happened, as the world says of it."""


def nothing(_: str) -> None:
    """Let life go on."""


def tools(happen: Happen) -> list[Tool]:
    """Return tools of names that the offline planner knows.

    Args:
        happen: called with the tool's name when it takes effect.
    """

    @tool(effect="read")
    def get_time(timezone: str) -> str:
        """Tell the time."""
        happen("get_time")
        return f"noon in {timezone}"

    @tool(effect="read")
    def calculate(expression: str) -> str:
        """Calculate."""
        happen("calculate")
        return f"the value of {expression}"

    @tool(effect="write", confirm=False)
    def remember(text: str) -> str:
        """Remember, unasked, and twice if called twice."""
        happen("remember")
        return f"remembered {text}"

    @tool(effect="write")
    def write_file(path: str, content: str) -> str:
        """Write."""
        happen("write_file")
        return f"wrote {content} to {path}"

    def said(path: str) -> bool | None:
        return SAID.get(path)

    @tool(effect="write", confirm=False, verify=said)
    def delete_file(path: str) -> str:
        """Delete, unasked; the name of the file tells what the world says of it afterwards."""
        happen("delete_file")
        return f"deleted {path}"

    @tool(effect="write", confirm=False, idempotent=True)
    def recall(here: Here, query: str) -> str:
        """Note that somebody asked; twice is as good as once."""
        happen(f"recall:{here.idempotency_key}")
        return f"noted {query}"

    return [get_time, calculate, remember, write_file, delete_file, recall]


@dataclass
class Home:
    """A directory with everything that outlives a process."""

    directory: Path
    environ: dict[str, str] = field(default_factory=dict)
    tools: Callable[[Happen], list[Tool]] = tools
    """Returns the tools there are, given what they call when they take effect."""

    @property
    def data(self) -> Path:
        return self.directory / "data"

    @property
    def effects(self) -> list[str]:
        """What happened in the world, in order."""
        path = self.directory / "effects"
        return path.read_text().split() if path.exists() else []

    def happen(self, name: str) -> None:
        with (self.directory / "effects").open("a") as file:
            file.write(f"{name}\n")
            file.flush()
            os.fsync(file.fileno())

    def configure(self, toml: str) -> None:
        (self.directory / "twobrain.toml").write_text(toml)

    def settings(self) -> Settings:
        config = self.directory / "twobrain.toml"
        config.parent.mkdir(exist_ok=True)
        config.touch()
        own = {"TWOBRAIN_CONFIG": str(config), "TWOBRAIN_DATA_DIR": str(self.data), "PATH": "/nowhere"}
        return load_settings({**own, **self.environ})

    async def resources(self, happen: Happen | None = None, ledger: Ledger | None = None) -> Resources:
        """Return settings, models and a ledger of this home, with the tools above."""
        settings = self.settings()
        ledger = ledger or await Ledger.open(place_of(settings), settings.redact)
        registry = Registry(self.tools(happen or self.happen))
        return Resources(settings, registry, Caller(settings), ledger, *shared_stores(settings, ledger))

    @asynccontextmanager
    async def opened(
        self,
        happen: Happen | None = None,
        ledger: Ledger | None = None,
        committing: Callable[[], None] = unhindered,
    ) -> AsyncIterator[Orchestrator]:
        """Open an orchestrator as `graphs.session.open_orchestrator` does, with the tools above.

        Args:
            happen: called with a tool's name when it takes effect; None: leaves a line in the file.
            ledger: None: this home's.
            committing: called before each commit of checkpoints; see `storage.checkpoints.saver.Checkpoints`.
        """
        res = await self.resources(happen, ledger)
        if res.settings.database_url:
            opened = open_steps(res)
        else:
            opened = open_checkpoints(self.data / "checkpoints.db", committing, res.ledger.writer)
        async with opened as saver:
            if res.settings.database_url:
                _commit_after(committing, saver)
            yield Orchestrator(res, saver)
        await res.ledger.close()


def _commit_after(committing: Callable[[], None], saver: Any) -> None:
    """Have each step put to Postgres after a call."""
    for name in ("aput", "aput_writes"):
        put = getattr(saver, name)

        async def hindered(*args: Any, put: Any = put, **kwargs: Any) -> Any:
            committing()
            return await put(*args, **kwargs)

        setattr(saver, name, hindered)


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _dying(home: Home, name: str) -> Happen:
    def happen(effect: str) -> None:
        home.happen(effect)
        if effect == name:
            _die()

    return happen


def _die_once_recorded(ledger: Ledger, name: str) -> None:
    async def finish(key: CallKey, **outcome: Any) -> Any:
        done = await Ledger.finish(ledger, key, **outcome)
        if any(row["call_id"] == key.call_id and row["tool"] == name for row in await ledger.audit()):
            _die()
        return done

    ledger.finish = finish  # type: ignore[method-assign]


def live(home: Home, death: str, verb: str, text: str) -> None:
    """Be the process that acts on thread t1."""
    asyncio.run(_live(home, death, verb, "t1", text))


async def _live(home: Home, death: str, verb: str, thread: str, text: str) -> None:
    when, _, name = death.partition(":")
    async with home.opened(_dying(home, name) if when == "during" else None) as orchestrator:
        if when == "recorded":
            _die_once_recorded(orchestrator.ledger, name)
        turn = {
            "ask": lambda: orchestrator.ask(text, thread_id=thread),
            "approve": lambda: orchestrator.resume(thread, answer=True),
            "click": lambda: clicks([orchestrator], 10, text.split()),
        }[verb]
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.readline)
        said = await turn()
        sys.stdout.write(f"{json.dumps(said.to_json() if isinstance(said, Result) else said)}\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)


def start(home: Home, death: str, verb: str, text: str = "") -> Forked:
    """Start a process that is ready to act on thread t1, and waits for `go`."""
    process = Forked(live, home, death, verb, text)
    assert process.stdout.readline() == "ready\n"
    return process


def go(process: Forked) -> None:
    process.stdin.write("\n")
    process.stdin.flush()


def killed(home: Home, death: str, verb: str, text: str = "") -> None:
    """Let a process act until its death."""
    with start(home, death, verb, text) as process:
        go(process)
        assert process.wait() == -9


def statuses(result: Result) -> dict[str, str]:
    return {call["tool"]: call["status"] for call in result.tool_calls}


async def clicks(
    orchestrators: Sequence[Orchestrator], count: int, ways: Sequence[str]
) -> list[dict[str, str]]:
    """Approve all that waits on thread t1 many times at once.

    Args:
        orchestrators: take turns.
        count: how often.
        ways: take turns: `resume`, `ainvoke` of the plain graph, or, as some UIs, of a checkpoint by its id.

    Returns:
        The response with each tool's status; a click that found nothing left to answer is left out.
    """
    turns = zip(itertools.cycle(orchestrators), itertools.cycle(ways), range(count), strict=False)
    ends = await asyncio.gather(*(_click(one, way) for one, way, _ in turns))
    return [end for end in ends if end]


async def _click(orchestrator: Orchestrator, way: str) -> dict[str, str] | None:
    if way == "resume":
        try:
            result = (await orchestrator.resume("t1", answer=True)).to_json()
        except NothingPendingError:
            return None
    else:
        config = orchestrator.config("t1")
        if way != "ainvoke":
            config["configurable"]["checkpoint_id"] = way
        result = await orchestrator.graph.ainvoke(Command(resume=True), config)
    return {"response": result["response"], **{c["tool"]: c["status"] for c in result["tool_calls"]}}


async def check_pairs(orchestrator: Orchestrator, thread: str = "t1") -> None:
    """Check that each call of the conversation has exactly one result, after it."""
    snapshot = await orchestrator.graph.aget_state({"configurable": {"thread_id": thread}})
    messages = snapshot.values["messages"]
    calls = [call["id"] for m in messages if isinstance(m, AIMessage) for call in m.tool_calls]
    results = [m.tool_call_id for m in messages if isinstance(m, ToolMessage)]
    assert sorted(calls) == sorted(results)
    assert len(set(calls)) == len(calls)
