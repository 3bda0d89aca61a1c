"""One question, answered at once on the page, in the terminal, in a chat program and on Telegram."""

import asyncio
import hashlib

import openai
import pytest

from channels.service import channels_served
from tests.channels.bot_api import TOKEN
from tests.server.page.site import Site, Visitor
from tests.terminal import forked

SECRET = "token-of-alice-7718"
CONFIG = f"""
[models.planner]
provider = "offline"
model = "planner"
[models.writer]
provider = "offline"
model = "writer"
[roles]
orchestrator = ["planner"]
chat = ["writer"]
[tools.run_command]
enabled = true
[users.alice]
role = "admin"
token_sha256 = "{hashlib.sha256(SECRET.encode()).hexdigest()}"
telegram = 11
notify = ["telegram"]
[channels.telegram]
base_url = "{{url}}"
"""
ASKED = 'use run_command {"command": "echo done >> count.txt"}'


@pytest.mark.slow
async def test_one_approval_given_everywhere_at_once_has_one_effect_and_each_is_told_so(tmp_path, bot):
    site = Site(tmp_path, CONFIG.format(url=bot.url), TELEGRAM_BOT_TOKEN=TOKEN)
    with site, Visitor(site) as page, openai.OpenAI(base_url=f"{site.url}/v1", api_key=SECRET) as door:
        page.sign_in(SECRET)
        said = [{"role": "user", "content": ASKED}]

        def speak() -> str:
            answer = door.chat.completions.create(model="twobrain", messages=said)
            return answer.choices[0].message.content or ""

        async with site.beside() as orchestrator, channels_served(orchestrator):
            said.append({"role": "assistant", "content": await asyncio.to_thread(speak)})
            card = await bot.text("count.txt", 11)
            [entry] = page.get("waiting")
            said.append({"role": "user", "content": "yes"})
            environ = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), **site.environ}
            approve = ["approve", entry["id"], "--user", "alice"]
            bot.press(card, "Approve")
            clicked, told, typed = await asyncio.gather(
                asyncio.to_thread(page.answer, entry),
                asyncio.to_thread(speak),
                asyncio.to_thread(forked.run, approve, environ, tmp_path),
            )
            await bot.until(lambda: "Approve" not in str(bot.find("count.txt", 11)))
            pressed = " ".join(bot.texts(11))
            # What the page accepted may have come after another's: its turn tells so.
            page_told = str(page.hear(entry["id"])) if clicked.status_code == 202 else clicked.text
    counted = [*tmp_path.rglob("count.txt")]
    assert [file.read_text() for file in counted] == ["done\n"]
    heard = [page_told, told, typed.stdout + typed.stderr, pressed]
    late = "was approved by"
    won = [late not in page_told, "done: run_command" in told, typed.returncode == 0]
    assert sum(won) <= 1, heard
    assert clicked.status_code in {202, 409}
    assert not won[0] or "'stop_reason': 'answered'" in page_told, page_told
    assert won[1] or late in told
    assert won[2] or late in typed.stderr
    assert "alice" in pressed
