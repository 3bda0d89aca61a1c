"""A process that serves the family's rooms until it is killed."""

import asyncio
import sys

from tests.behaviour.crashes.process import Home
from tests.channels.matrix.conftest import serving


def live(home: Home) -> None:
    """Serve until the standard input ends, or a kill."""
    asyncio.run(_live(home))


async def _live(home: Home) -> None:
    async with serving(home):
        await asyncio.to_thread(sys.stdin.read)
