"""The commands, one a file; each returns its exit code, or None for 0."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Concatenate, NoReturn, ParamSpec

import typer

from base.settings import load_settings
from graphs.session import Orchestrator, open_orchestrator
from terminal.log import start_log

P = ParamSpec("P")


def run(
    command: Callable[Concatenate[Orchestrator, P], Awaitable[int | None]], *args: P.args, **options: P.kwargs
) -> NoReturn:
    """Read the settings, open the orchestrator, run a command on it and end with its exit code."""
    settings = load_settings()
    start_log(settings)

    async def opened() -> int | None:
        async with open_orchestrator(settings) as orchestrator:
            return await command(orchestrator, *args, **options)

    raise typer.Exit(asyncio.run(opened()) or 0)
