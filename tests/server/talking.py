"""A conversation over the server, as a client of it has one."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from langgraph_sdk.client import LangGraphClient

from ledger.ledger import Ledger
from tests.wires.brain import Heard, Reply, conversation

Case = TypeVar("Case")
T = TypeVar("T")

GRAPH = "orchestrator"
APPROVE = {"decisions": [{"type": "approve"}]}
REJECT = {"decisions": [{"type": "reject", "message": "not today"}]}


@dataclass(frozen=True)
class Talk:
    """One thread. What is not named goes to the server as `context`."""

    client: LangGraphClient
    id: str

    async def say(self, content: Any, **context: Any) -> dict[str, Any]:
        """Send a person's message; return the turn's output."""
        return await self.send([{"role": "user", "content": content}], **context)

    async def send(self, messages: list[dict[str, Any]], **context: Any) -> dict[str, Any]:
        """Send messages as they are; return the turn's output."""
        return await self.run(input={"messages": messages}, context=context)

    async def answer(self, decision: Any, **options: Any) -> dict[str, Any]:
        """Answer the confirmation that waits; return what came of it."""
        return await self.run(command={"resume": decision}, **options)

    async def run(self, **options: Any) -> dict[str, Any]:
        output = await self.client.runs.wait(self.id, GRAPH, **options)
        assert isinstance(output, dict)
        return output

    async def copy(self) -> "Talk":
        """Return a copy of the thread, with all that happened on it."""
        return Talk(self.client, (await self.client.threads.copy(self.id))["thread_id"])

    async def steps(self) -> list[str]:
        """Return the steps that were taken, from first to last, `__start__` and `__end__` included."""
        history = await self.client.threads.get_history(self.id, limit=100)
        return [(state["next"] or ["__end__"])[0] for state in reversed(history)]


def outcomes(output: dict[str, Any]) -> list[tuple[str, str]]:
    """Return what became of each of a turn's calls: tool and status."""
    return [(call["tool"], call["status"]) for call in output["tool_calls"]]


async def each(cases: Iterable[Case], act: Callable[[Case], Awaitable[T]]) -> dict[Case, T]:
    """Act on every case at once: a server that has nothing else to do takes a second to begin a run."""
    names = list(cases)
    return dict(zip(names, await asyncio.gather(*map(act, names)), strict=True))


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[Ledger]:
    """Open the server's ledger beside it."""
    ledger = await Ledger.open(path)
    try:
        yield ledger
    finally:
        await ledger.close()


def errands(heard: Heard) -> Reply:
    """Answer as `conversation` does, on the file that the request names."""
    reply = conversation(heard)
    named = re.search(r"[\w-]+\.txt", heard.request)
    if named is None:
        return reply
    calls = [
        replace(call, args={**call.args, "path": named[0]}) if call.args.get("path") == "notes.txt" else call
        for call in reply.calls
    ]
    return replace(reply, calls=tuple(calls))
