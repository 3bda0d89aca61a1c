"""The development server serves the messengers, too, and goes on after it was killed."""

import pytest

from tests.channels.bot_api import TOKEN
from tests.channels.conftest import ALICE, PEOPLE
from tests.server.serving import Server


@pytest.mark.slow
async def test_a_server_killed_while_a_question_waits_takes_the_answer_when_it_is_back(bot, tmp_path):
    config = f'{PEOPLE}\n[channels.telegram]\nbase_url = "{bot.url}"\n'
    with Server(tmp_path, config, {"TELEGRAM_BOT_TOKEN": TOKEN}) as server:
        bot.message(ALICE, 'write "buy milk" to notes.txt')
        card = await bot.text("Please confirm", ALICE)
        bot.message(ALICE, "/help")
        await bot.text("/new begins", ALICE)  # so what came before is on record
        server.kill()
        bot.press(card, "Approve")
        server.start()
        await bot.text("I wrote “buy milk”", ALICE)
        await bot.until(lambda: "approved by alice" in card.text)
        log = server.log
    assert "Blocking" not in log
    assert TOKEN not in log
    assert [path.read_text() for path in tmp_path.rglob("notes.txt")] == ["buy milk"]
    assert len([text for text in bot.texts() if "Please confirm" in text]) == 1
