"""The commands, one a file; each returns its exit code or None."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Concatenate, NoReturn, ParamSpec

import typer

from base.settings import load_settings
from graphs.session import Orchestrator, open_orchestrator
from terminal.log import PrivateLog

P = ParamSpec("P")


def run(
    command: Callable[Concatenate[Orchestrator, P], Awaitable[int | None]], *args: P.args, **options: P.kwargs
) -> NoReturn:
    """Run a command on an open orchestrator and exit with its code."""
    settings = load_settings()
    logging.getLogger().addHandler(PrivateLog(settings))

    async def opened() -> int | None:
        async with open_orchestrator(settings) as orchestrator:
            return await command(orchestrator, *args, **options)

    raise typer.Exit(asyncio.run(opened()) or 0)
