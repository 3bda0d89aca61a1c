"""`twobrain channels`: serve the messengers without a server."""

import asyncio
import logging

from base.errors import ConfigurationError
from base.settings import Settings, load_settings
from channels.service import serve_channels
from graphs.session import open_orchestrator
from terminal.screen import open_screen


def channels() -> int:
    """Serve them until Ctrl-C.

    Raises:
        ConfigurationError: none is configured, or one cannot be used.
    """
    settings = load_settings()
    if not settings.channels:
        raise ConfigurationError(
            "No messenger is configured: add a table such as [channels.telegram] to twobrain.toml."
        )
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    open_screen().note(f"Serving {', '.join(settings.channels)}; Ctrl-C stops it.", "bold")
    try:
        asyncio.run(_serve(settings))
    except KeyboardInterrupt:
        return 130
    return 0


async def _serve(settings: Settings) -> None:
    async with open_orchestrator(settings) as orchestrator:
        await serve_channels(orchestrator)
