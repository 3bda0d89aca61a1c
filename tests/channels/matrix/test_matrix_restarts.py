"""Killed at any moment, nothing is answered twice on Matrix, and nothing is lost."""

import asyncio

import pytest

from tests.channels.matrix.conftest import serving
from tests.channels.matrix.middle import Death, Middle
from tests.channels.matrix.process import live
from tests.terminal.forked import Forked

pytestmark = pytest.mark.slow

DONE = "done: write_file"
IN_FULL = pytest.mark.prove(sampled=False)
MOMENTS = [
    Death("join", 1, takes_effect=True),
    Death("typing", 1, takes_effect=False),
    Death("send", 1, takes_effect=False),
    Death("send", 1, takes_effect=True),
    Death("sync", 4, takes_effect=True),
    Death("send", 2, takes_effect=True),
    Death("send", 3, takes_effect=False),
]
"""The first message sent is the card; the second marks it or is the answer."""


@pytest.mark.parametrize(
    "moment",
    [*MOMENTS[2:5], *(pytest.param(each, marks=IN_FULL) for each in (*MOMENTS[:2], *MOMENTS[5:]))],
    ids=str,
)
async def test_a_process_killed_in_the_middle_of_a_gate_is_followed_by_one_that_goes_on(family, moment):
    anna = await family.person("anna")
    with Middle(family.synapse.url) as middle:
        family.url, middle.death = middle.url, moment
        family.configure()

        def serve() -> Forked:
            process = Forked(live, family.home)
            middle.victim = process.pid
            return process

        with serve() as process:
            ended = asyncio.Event()
            await anna.say('write "buy milk" to notes.txt')
            second = asyncio.create_task(_again(process, serve, ended))
            card = await anna.text("Please confirm")
            await anna.react(card.id, "👍")
            await anna.text(DONE)
            await anna.until(lambda: "approved by anna" in card.text)
            await anna.say("!help")
            await anna.text("/new begins")
            assert middle.death is None
            ended.set()
            await second
    assert family.effects == ["write_file"]
    texts = [each.text for each in anna.shown]
    assert [sum(part in text for text in texts) for part in ("Please confirm", DONE, "/new begins")] == [
        1
    ] * 3


async def _again(process, serve, ended) -> None:
    """Serve again once a process was killed."""
    assert await asyncio.to_thread(process.wait) == -9
    with serve():
        await ended.wait()


async def test_what_came_while_nobody_served_is_answered_once(family):
    anna = await family.person("anna")
    async with serving(family.home):
        await anna.say('write "buy milk" to notes.txt')
        card = await anna.text("Please confirm")
    await anna.react(card.id, "👍")
    await anna.say("what is 2*7")
    other = await anna.open_room()
    await anna.say("what is 3*7")
    for _ in range(2):
        async with serving(family.home):
            await anna.text(DONE)
            await anna.text("2*7")
            await anna.text("3*7", other)
    assert sorted(family.effects) == ["calculate", "calculate", "write_file"]
    assert len(anna.shown) == 4
