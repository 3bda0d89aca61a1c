"""The commands, one a file; each returns its exit code or None."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Concatenate, NoReturn, ParamSpec, cast

import typer

from base.errors import StorageError
from base.settings import Settings, load_settings
from base.telemetry_export import begin_export, end_export, exports_metrics
from graphs.session import Orchestrator, open_orchestrator
from ledger.counts import observe
from terminal.log import PrivateLog
from terminal.screen import open_screen

P = ParamSpec("P")


def run(
    command: Callable[Concatenate[Orchestrator, P], Awaitable[int | None]], *args: P.args, **options: P.kwargs
) -> NoReturn:
    """Run a command on an open orchestrator and exit with its code."""
    settings = _settings()
    if problem := begin_export():
        open_screen(machine=True).note(problem, "yellow")

    async def opened() -> int | None:
        async with open_orchestrator(settings) as orchestrator:
            code = await command(orchestrator, *args, **options)
            if exports_metrics():
                with suppress(StorageError):
                    observe(await orchestrator.ledger.counts(), orchestrator.ledger.now())
            return code

    try:
        raise typer.Exit(asyncio.run(opened()) or 0)
    finally:
        end_export()


def run_at(
    server: str | None,
    command: Callable[Concatenate[Orchestrator, P], Awaitable[int | None]],
    *args: P.args,
    **options: P.kwargs,
) -> NoReturn:
    """Run a command on a server's conversations; None: on those here."""
    if server is None:
        run(command, *args, **options)

    async def opened() -> int | None:
        from terminal.remote import open_remote

        async with open_remote(server, _settings()) as remote:
            return await command(cast("Orchestrator", remote), *args, **options)  # of which it has that part

    raise typer.Exit(asyncio.run(opened()) or 0)


def _settings() -> Settings:
    settings = load_settings()
    logging.getLogger().addHandler(PrivateLog(settings))
    return settings
