"""A process that serves the family's chats until it is killed."""

import asyncio
import sys

from tests.behaviour.crashes.process import Home
from tests.channels.conftest import serving


def live(home: Home) -> None:
    """Serve until the standard input ends, or a kill."""
    asyncio.run(_live(home))


async def _live(home: Home) -> None:
    async with serving(home):
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)
