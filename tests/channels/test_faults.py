"""What goes wrong on the way: floods, limits, blocks, files, and a network that fails."""

import pytest

from base.errors import ConfigurationError
from channels.messenger import split
from channels.service import open_messengers
from channels.telegram import open_telegram
from tests.behaviour.crashes.process import Home
from tests.channels.bot_api import TOKEN
from tests.channels.conftest import ALICE, BOB, serving


def units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


@pytest.mark.slow
async def test_a_flood_is_worked_off_in_order_and_told_once(family, bot):
    for number in range(14):
        bot.message(ALICE, f"what is {number}*7")
    bot.message(BOB, "what is 1*5")
    async with serving(family):
        await bot.text("the value of 1*5", BOB)
        assert bot.find("the value of 13*7", ALICE) is None, "bob had to wait for alice"
        await bot.text("the value of 13*7", ALICE)
    answers = [text.partition("*")[0] for text in bot.texts(ALICE) if "the value" in text]
    assert answers == [str(number) for number in range(14)]
    assert len([text for text in bot.texts(ALICE) if "messages wait" in text]) == 1
    assert bot.find("messages wait", BOB) is None


async def test_stop_stops_what_runs_and_drops_what_waits(family, bot):
    async with serving(family, happen=hold):
        bot.message(ALICE, "what is 1*7")
        await bot.until(lambda: ("sendChatAction", {"chat_id": ALICE, "action": "typing"}) in bot.calls)
        bot.message(ALICE, "what is 2*7")
        bot.message(ALICE, "/stop")
        stopped = await bot.text("Stopped.", ALICE)
        assert "Dropped: 1 message." in stopped.text
        bot.message(ALICE, "/help")
        await bot.text("/new begins", ALICE)
    assert len(bot.texts(ALICE)) == 2


def hold(_name: str) -> None:
    """Take longer than anybody waits, where a call runs in a thread of its own."""
    import time

    time.sleep(1)


async def test_telegrams_request_to_slow_down_is_obeyed(family, bot):
    bot.slow_down["sendMessage"] = 1
    bot.message(ALICE, "what is 12*7")
    async with serving(family):
        await bot.text("the value of 12*7", ALICE)
    assert len(bot.sent) == 1


async def test_a_chat_that_blocked_the_bot_holds_up_nobody(family, bot, caplog):
    bot.blocked.add(ALICE)
    bot.message(ALICE, "what is 12*7")
    async with serving(family):
        await bot.until(lambda: [each for each in bot.refused if "blocked" in each and "sendMessage" in each])
        bot.message(BOB, "what is 1*5")
        await bot.text("the value of 1*5", BOB)
        bot.blocked.clear()
        bot.message(ALICE, "what is 2*5")
        await bot.text("the value of 2*5", ALICE)
    assert bot.find("12*7") is None
    assert "cannot be written to" in caplog.text


async def test_a_token_that_is_revoked_is_told_in_a_sentence_without_it(family, bot, caplog):
    bot.message(ALICE, "what is 12*7")
    bot.token = "4711:another"
    async with serving(family):
        await bot.until(lambda: bot.unauthorized)
        bot.token = family.environ["TELEGRAM_BOT_TOKEN"]
        await bot.text("the value of 12*7", ALICE)
    assert len([line for line in caplog.messages if "nothing comes from telegram" in line]) == 1
    assert family.environ["TELEGRAM_BOT_TOKEN"] not in caplog.text


async def test_no_log_has_the_token_however_much_it_tells(family, bot, caplog):
    caplog.set_level("DEBUG")
    bot.message(ALICE, "what is 12*7")
    async with serving(family):
        await bot.text("the value of 12*7", ALICE)
    assert TOKEN not in caplog.text


async def test_an_album_with_a_caption_is_one_turn_and_a_file_too_large_is_refused(family, bot):
    bot.files["p1"], bot.files["p2"] = (b"\x89PNG\r\n\x1a\n" + bytes(30),) * 2
    photos = [[{"file_id": name, "file_unique_id": name, "width": 9, "height": 9}] for name in ("p1", "p2")]
    bot.message(ALICE, caption="what is 12*7", photo=photos[0], media_group_id="g")
    bot.message(ALICE, photo=photos[1], media_group_id="g")
    big = {"file_id": "b", "file_unique_id": "b", "file_name": "film.mp4", "file_size": 15_000_000}
    bot.message(ALICE, caption="and this", document=big)
    bot.message(ALICE, document={**big, "file_size": 25_000_000})
    bot.message(ALICE, location={"latitude": 1.0, "longitude": 2.0})
    async with serving(family) as orchestrator:
        await bot.text("'film.mp4' is left out: it has more than 10 MB.", ALICE)
        await bot.text("more than 20 MB", ALICE)
        await bot.text("Messages of that kind are not read here", ALICE)
        [thread] = await orchestrator.ledger.threads(user="alice")
        values = (await orchestrator.snapshot(thread["thread"])).values
    said = next(message for message in values["messages"] if message.type == "human")
    assert [block["type"] for block in said.content] == ["text", "image", "image"]


@pytest.mark.parametrize(
    "text",
    ["word " * 3_000, "\U0001f600" * 5_000, "a\n\nb\n" * 3_000, "x" * 10_000, "short", "e\u0301" * 4_000],
)
def test_a_long_text_is_cut_into_messages_that_fit_and_lose_nothing(text):
    parts = split(text, 4_000, units)
    assert all(0 < units(part) <= 4_000 for part in parts)
    assert "".join("".join(parts).split()) == "".join(text.split())
    half = split(text[: len(text) // 2], 4_000, units)
    assert half[:-1] == parts[: len(half) - 1], "what grows is cut where it was before"


async def test_a_question_that_is_too_long_for_a_chat_cannot_be_agreed_to_there(family, bot):
    text = "\u3164" * 6_000  # each is written out on the card
    bot.message(ALICE, f'write "{text}" to notes.txt')
    async with serving(family):
        told = await bot.text("too long to be shown here whole", ALICE)
        assert [label for label, _ in told.buttons] == ["Reject"]
        bot.message(ALICE, "yes")
        await bot.until(lambda: len(bot.sent) == 2)
        bot.press(told, "Reject")
        await bot.until(lambda: "rejected by alice" in told.text)
    assert family.effects == []


def test_what_is_missing_is_told_in_a_sentence(home: Home):
    home.configure("[channels.telegram]\n")
    with pytest.raises(ConfigurationError, match="set the variable TELEGRAM_BOT_TOKEN"):
        open_telegram(home.settings())
    home.configure("[channels.pigeon]\n")
    with pytest.raises(ConfigurationError, match=r"\[channels.pigeon\]: there is no such messenger"):
        open_messengers(home.settings())
    home.configure("[users.a]\ntelegram = 5\n[users.b]\ntelegram = 5\n")
    with pytest.raises(ConfigurationError, match="5 is 'a' already"):
        home.settings()
