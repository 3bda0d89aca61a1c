"""A household whose people write to a bot on loopback."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress

import pytest

from channels.runner import Channel
from channels.telegram import open_telegram
from graphs.session import Orchestrator
from tests.behaviour.crashes.process import Home
from tests.channels.bot_api import TOKEN, BotApi, BotHost

ALICE, BOB, STRANGER = 11, 22, 99
GROUP = -1001
PEOPLE = f"""
[users.alice]
role = "admin"
telegram = {ALICE}
[users.bob]
role = "admin"
telegram = {BOB}
[users.kid]
role = "user"
telegram = 33
approvers = ["bob"]
"""
KID = 33


@pytest.fixture(scope="session")
def bot_host() -> Iterator[BotHost]:
    with BotHost() as host:
        yield host


@pytest.fixture
def bot(bot_host: BotHost) -> BotApi:
    return bot_host.open()


@pytest.fixture
def family(home: Home, bot: BotApi) -> Home:
    """A home in which alice, bob and kid, whom bob approves for, write to the bot."""
    home.environ["TELEGRAM_BOT_TOKEN"] = TOKEN
    home.configure(f'{PEOPLE}\n[channels.telegram]\nbase_url = "{bot.url}"\ngroups = [{GROUP}]\n')
    return home


@asynccontextmanager
async def serving(family: Home, **options) -> AsyncIterator[Orchestrator]:
    """Serve the family's chats, as a process of its own does."""
    async with family.opened(**options) as orchestrator:
        messenger = open_telegram(orchestrator.settings)
        assert messenger is not None
        messenger.pause_s = 0.02  # the loopback is in no hurry
        task = asyncio.create_task(Channel(orchestrator, messenger).run())
        try:
            yield orchestrator
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
