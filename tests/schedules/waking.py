"""A process that does what is due at the times it is told, until it is killed."""

import asyncio
import sys
from collections.abc import Callable
from contextlib import suppress

from channels.scheduler import Scheduler
from tests.behaviour.crashes.process import Home
from tests.channels.conftest import serving
from tools.declaration import Here, Tool, tool


def counted(happen: Callable[[str], None]) -> list[Tool]:
    """Return a tool of which each effect names the run that it is of."""

    @tool(effect="write", confirm=False)
    def remember(here: Here, text: str) -> str:
        """Remember, unasked, and twice if called twice."""
        happen(here.thread_id)
        return f"remembered {text}"

    return [remember]


def wake(home: Home) -> None:
    """Read times, each a line; do what is due then; say so."""
    home.tools = counted
    asyncio.run(_wake(home))


async def _wake(home: Home) -> None:
    async with home.opened() as orchestrator:
        scheduler = Scheduler(orchestrator)
        while line := await asyncio.to_thread(sys.stdin.readline):
            now = float(line)
            orchestrator.ledger.now = lambda now=now: now
            await scheduler.run_due()
            for waiting in await orchestrator.pending():  # a call that a kill left in doubt: it is let go
                with suppress(Exception):
                    await orchestrator.resume(waiting["thread_id"], answer=False)
            sys.stdout.write("done\n")
            sys.stdout.flush()


def remind(family: Home) -> None:
    """Serve the family's chats and what is due, until the input ends or a kill."""
    asyncio.run(_remind(family))


async def _remind(family: Home) -> None:
    async with serving(family) as orchestrator:
        doing = asyncio.create_task(Scheduler(orchestrator).serve())
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)
        doing.cancel()
        await asyncio.wait([doing])
