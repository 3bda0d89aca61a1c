"""Killed or cut off at any moment, nothing is answered twice and nothing is lost."""

import pytest

from tests.channels.bot_api import Death
from tests.channels.conftest import ALICE, serving
from tests.channels.process import live
from tests.terminal.forked import Forked

DONE = "I wrote “buy milk” to"
AGAIN = "Sent once more"
MOMENTS = [
    Death(method, number, takes_effect=takes_effect)
    for method, number in [
        ("sendChatAction", 1),
        ("sendMessage", 1),
        ("answerCallbackQuery", 1),
        ("sendMessage", 2),
        ("editMessageText", 1),
    ]
    for takes_effect in (False, True)
]


@pytest.mark.slow
@pytest.mark.parametrize("moment", MOMENTS, ids=str)
async def test_a_process_killed_in_the_middle_of_a_gate_is_followed_by_one_that_goes_on(family, bot, moment):
    bot.message(ALICE, 'write "buy milk" to notes.txt')
    bot.death = moment

    def serve() -> Forked:
        process = Forked(live, family)
        bot.pid = process.pid
        return process

    with serve() as first:
        if moment.precedes_the_card:
            await bot.until(lambda: bot.death is None)
            assert first.wait() == -9
        else:
            bot.press(await bot.text("Please confirm", ALICE), "Approve")
            await bot.until(lambda: bot.death is None)
            assert first.wait() == -9
    with serve():
        if moment.precedes_the_card:
            bot.press(await bot.text("Please confirm", ALICE), "Approve")
        await bot.text(DONE, ALICE)
        bot.message(ALICE, "/help")
        await bot.text("/new begins", ALICE)
        await bot.until(lambda: not any(each.buttons for each in bot.sent if AGAIN in each.text))
    assert family.effects == ["write_file"]
    for part in ("Please confirm", DONE):
        found = [each for each in bot.texts() if part in each]
        assert len([each for each in found if AGAIN not in each]) <= 1
        assert len(found) == 1 or (len(found) == 2 and AGAIN in found[1])
    harmless = ("message is not modified", "query is too old")
    assert not [each for each in bot.refused if not any(words in each for words in harmless)]


async def test_an_answer_whose_sending_was_cut_off_is_sent_once_more_and_says_so(family, bot):
    bot.message(ALICE, "what is 12*7")
    bot.cut_after["sendMessage"] = 1
    async with serving(family):
        await bot.text(AGAIN, ALICE)
    first, second = bot.texts(ALICE)
    assert second.endswith(first)
    assert family.effects == ["calculate"]


async def test_a_restart_goes_on_with_what_was_stored_and_not_done(family, bot):
    for number in range(3):
        bot.message(ALICE, f"what is {number}*7")
    bot.blocked.add(0)
    async with serving(family):
        await bot.text("the value of 0*7", ALICE)
    async with serving(family):
        await bot.text("the value of 2*7", ALICE)
        await bot.taken()
    assert family.effects == ["calculate"] * 3
    assert [text.partition(" =")[0] for text in bot.texts(ALICE)] == ["0*7", "1*7", "2*7"]


async def test_one_process_polls_and_another_takes_over_when_it_ends(family, bot):
    async with serving(family):
        bot.message(ALICE, "what is 1*7")
        await bot.text("the value of 1*7", ALICE)
        async with serving(family):
            bot.message(ALICE, "what is 2*7")
            await bot.text("the value of 2*7", ALICE)
        bot.message(ALICE, "what is 3*7")
        await bot.text("the value of 3*7", ALICE)
    assert not [each for each in bot.refused if "Conflict" in each]
    assert family.effects == ["calculate"] * 3


@pytest.mark.slow
async def test_on_postgres_a_question_outlives_its_process_and_is_answered_once(family, bot, database_url):
    family.environ["TWOBRAIN_DATABASE_URL"] = database_url
    bot.message(ALICE, 'write "buy milk" to notes.txt')
    async with serving(family):
        card = await bot.text("Please confirm", ALICE)
        bot.message(ALICE, "/help")
        await bot.text("/new begins", ALICE)
    bot.press(card, "Approve")
    bot.press(card, "Approve")
    async with serving(family):
        await bot.text(DONE, ALICE)
        await bot.until(lambda: "approved by alice" in card.text and len(bot.toasts) == 2)
    assert family.effects == ["write_file"]
