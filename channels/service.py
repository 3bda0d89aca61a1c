"""All messengers that are configured, served beside a server or alone."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress

from base.errors import ConfigurationError
from base.settings import Settings
from channels.matrix import open_matrix
from channels.messenger import Messenger
from channels.new_mail import serve_new_mail
from channels.notices import serve_notices
from channels.runner import Channel
from channels.scheduler import serve_schedules
from channels.telegram import open_telegram
from graphs.session import Orchestrator

_OPENERS: Mapping[str, Callable[[Settings], Messenger | None]] = {
    "telegram": open_telegram,
    "matrix": open_matrix,
}
"""By the name of its table in `[channels]`."""

_log = logging.getLogger(__name__)


def open_messengers(settings: Settings) -> list[Messenger]:
    """Return the messengers that are configured, not connected yet.

    Raises:
        ConfigurationError: one cannot be used, or nobody knows it.
    """
    if unknown := [name for name in settings.channels if name not in _OPENERS]:
        known = ", ".join(_OPENERS)
        raise ConfigurationError(f"[channels.{unknown[0]}]: there is no such messenger; there are: {known}.")
    opened = (_OPENERS[name](settings) for name in settings.channels)
    return [messenger for messenger in opened if messenger]


async def serve_channels(orchestrator: Orchestrator) -> None:
    """Serve all messengers, and what is due, until cancelled. Raises as `open_messengers`."""
    await _serve(orchestrator, await asyncio.to_thread(open_messengers, orchestrator.settings))


async def _serve(orchestrator: Orchestrator, messengers: Sequence[Messenger]) -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(serve_notices(orchestrator))
        tasks.create_task(serve_schedules(orchestrator))
        tasks.create_task(serve_new_mail(orchestrator))
        for messenger in messengers:
            tasks.create_task(Channel(orchestrator, messenger).run())


@asynccontextmanager
async def channels_served(orchestrator: Orchestrator) -> AsyncIterator[None]:
    """Serve messengers and what is due beside a server; faults are logged."""
    task = asyncio.create_task(_served(orchestrator))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _served(orchestrator: Orchestrator) -> None:
    messengers: Sequence[Messenger] = ()
    try:
        messengers = await asyncio.to_thread(open_messengers, orchestrator.settings)
    except ConfigurationError as error:
        _log.error("no messenger is served: %s", error)
    try:
        await _serve(orchestrator, messengers)
    except Exception:
        _log.exception("no messenger is served any more")
