"""The commands, one a file; each returns its exit code."""

import asyncio
from collections.abc import Awaitable, Callable

from base.settings import load_settings
from graphs.session import Orchestrator, open_orchestrator
from terminal.log import start_log


def run(work: Callable[[Orchestrator], Awaitable[int]]) -> int:
    """Read the settings, open the orchestrator, do the work and return its exit code."""
    settings = load_settings()
    start_log(settings)

    async def opened() -> int:
        async with open_orchestrator(settings) as orchestrator:
            return await work(orchestrator)

    return asyncio.run(opened())
