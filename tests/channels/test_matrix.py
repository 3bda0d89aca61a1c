"""A conversation on Matrix, through matrix-nio, with a homeserver on loopback."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress

import pytest

from base.errors import ConfigurationError
from channels.matrix import ENCRYPTED, OTHERS, open_matrix
from channels.runner import Channel
from channels.service import open_messengers
from doctor.online import check_online
from graphs.session import Orchestrator
from tests.behaviour.crashes.process import Home
from tests.channels.homeserver import ANNA, BOT, STRANGER, TOKEN, Homeserver
from tests.channels.loopback import Loopback

pytest.importorskip("nio", reason="it is the extra `channels`")
DONE = "done: write_file"


@pytest.fixture
def server() -> Homeserver:
    return Homeserver()


@pytest.fixture
def home(home: Home, server: Homeserver) -> Iterator[Home]:
    """A home in which anna writes to the account."""
    home.environ["MATRIX_ACCESS_TOKEN"] = TOKEN
    with Loopback(server.routes()) as loopback:
        people = f'[users.anna]\nrole = "admin"\nmatrix = "{ANNA}"\n'
        home.configure(f'{people}[channels.matrix]\nhomeserver = "{loopback.url}"\nuser = "{BOT}"\n')
        yield home


@asynccontextmanager
async def serving(home: Home) -> AsyncIterator[Orchestrator]:
    async with home.opened() as orchestrator:
        messenger = open_matrix(orchestrator.settings)
        assert messenger is not None
        messenger.pause_s = 0.02
        task = asyncio.create_task(Channel(orchestrator, messenger).run())
        try:
            yield orchestrator
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


@asynccontextmanager
async def begun(home: Home, server: Homeserver) -> AsyncIterator[Orchestrator]:
    """Serve once the cursor is stored: what was written before is not for us."""
    async with serving(home) as orchestrator:
        await server.until(lambda: server.asked)
        yield orchestrator


async def test_a_question_is_answered_by_a_reaction_on_it_once(home, server):
    async with begun(home, server):
        server.say('write "buy milk" to notes.txt')
        card = await server.text("Please confirm")
        server.react(card["id"], "🎉")
        server.react("$1", "👍")
        server.react(card["id"], "👍", sender=STRANGER)
        server.say("!help")
        await server.text("/new begins")
        assert home.effects == []
        server.react(card["id"], "👍")
        server.react(card["id"], "✅")
        await server.text(DONE)
        await server.until(lambda: "approved by anna" in card["body"] and "react" not in card["body"])
    assert home.effects == ["write_file"]


async def test_a_stranger_gets_nothing_is_refused_and_counted(home, server, caplog):
    server.invitations = {"!evil:example.org": STRANGER, "!two:example.org": ANNA}
    async with begun(home, server) as orchestrator:
        server.say("the secret word is swordfish", sender=STRANGER)
        server.say("what is 12*7")
        await server.text("the value of 12*7")
        counted = (await orchestrator.ledger.counts()).unknown_senders
    assert counted == {"matrix": 2}
    assert len(server.sent) == 1
    assert server.refused == ["!evil:example.org"]
    assert "!two:example.org" in server.joined
    assert "swordfish" not in caplog.text


@pytest.mark.parametrize(
    ("more", "words"), [({"members": [BOT, ANNA, STRANGER]}, OTHERS), ({"encrypted": True}, ENCRYPTED)]
)
async def test_a_room_that_others_read_or_that_is_encrypted_is_told_so_once(home, server, more, words):
    for name, value in more.items():
        setattr(server, name, value)
    for _ in range(2):
        async with begun(home, server):
            for _ in range(3):
                server.say("what is 12*7")
            await server.text(words)
            before = server.asked
            await server.until(lambda before=before: server.asked > before)
    assert server.texts() == [words]
    assert home.effects == []


async def test_a_message_whose_sending_was_cut_off_stands_there_once(home, server):
    async with begun(home, server):
        server.cut = 2
        server.say("what is 12*7")
        await server.text("the value of 12*7")
        server.say("what is 1*7")
        await server.text("the value of 1*7")
    assert len(server.sent) == 2
    assert "Sent once more" not in str(server.texts())


async def test_a_homeserver_that_asks_for_patience_is_obeyed(home, server):
    async with begun(home, server):
        server.limit = 2
        server.say("what is 12*7")
        await server.text("the value of 12*7")
    assert server.limit == 0
    assert len(server.sent) == 1


async def test_what_came_while_nobody_served_is_answered_once(home, server):
    async with begun(home, server):
        server.say('write "buy milk" to notes.txt')
        card = await server.text("Please confirm")
    server.react(card["id"], "👍")
    server.say("what is 12*7")
    for _ in range(2):
        async with serving(home):
            await server.text(DONE)
            await server.text("the value of 12*7")
    assert sorted(home.effects) == ["calculate", "write_file"]
    assert len(server.sent) == 3


@pytest.mark.slow
async def test_a_token_that_is_revoked_is_told_in_a_sentence_and_comes_back(home, server, caplog):
    async with begun(home, server):
        server.token = "another"
        await server.until(lambda: "was it revoked" in caplog.text)
        [found] = [each for each in await check_online(home.settings()) if each.name == "messenger matrix"]
        server.say("what is 12*7")
        server.token = TOKEN
        await server.text("the value of 12*7")
    assert found.state == "bad"
    assert "was it revoked" in found.text
    assert len([each for each in caplog.records if "was it revoked" in each.getMessage()]) == 1
    assert TOKEN not in caplog.text


async def test_doctor_says_who_it_is_and_what_is_encrypted(home, server):
    server.encrypted = True
    [found] = [each for each in await check_online(home.settings()) if each.name == "messenger matrix"]
    assert found.state == "note"
    assert BOT in found.text
    assert "encrypted" in found.text


def test_a_table_without_a_token_says_what_to_set(home):
    del home.environ["MATRIX_ACCESS_TOKEN"]
    with pytest.raises(ConfigurationError, match="set the variable MATRIX_ACCESS_TOKEN"):
        open_messengers(home.settings())
