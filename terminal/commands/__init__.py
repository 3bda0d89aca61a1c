"""The commands, one a file; each returns its exit code or None."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Concatenate, NoReturn, ParamSpec, cast

import typer

from base.errors import StorageError, TwobrainError
from base.settings import Settings, load_settings
from base.telemetry_export import begin_export, end_export, exports_metrics
from graphs.session import Orchestrator, open_orchestrator
from ledger.counts import observe
from terminal.lists import show_json
from terminal.log import PrivateLog, unexpected
from terminal.screen import open_screen

P = ParamSpec("P")


@contextmanager
def failures_told(*, as_events: bool) -> Iterator[None]:
    """Tell what fails as an event, where a program reads events."""
    try:
        yield
    except (typer.Exit, BrokenPipeError):
        raise
    except Exception as error:
        if not as_events:
            raise
        detail, code = (
            (str(error), error.exit_code) if isinstance(error, TwobrainError) else (unexpected(error), 1)
        )
        show_json(open_screen(machine=True), {"event": "failed", "detail": detail, "code": code})
        raise typer.Exit(code) from None


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
        from graphs.remote import open_remote

        async with open_remote(server, _settings()) as remote:
            return await command(cast("Orchestrator", remote), *args, **options)  # of which it has that part

    raise typer.Exit(asyncio.run(opened()) or 0)


def _settings() -> Settings:
    settings = load_settings()
    logging.getLogger().addHandler(PrivateLog(settings))
    return settings
