"""What waits finds its person: once, again after a stated time, and nowhere when it is answered."""

import asyncio
import http.server
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from base.settings import UserCard
from channels.messages import NoticeRows
from channels.notices import is_quiet, serve_notices
from graphs.session import Orchestrator
from ledger.records import Use
from nodes.context import Context
from tests.behaviour.crashes.process import Home
from tests.channels.bot_api import BotApi
from tests.channels.conftest import ALICE, BOB, PEOPLE, serving

WRITE = 'write "buy milk" to notes.txt'


class Pushes:
    """A push service on loopback: what was sent to it."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.changed = threading.Condition()
        self.is_away = False
        pushes = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                said = self.rfile.read(int(self.headers["Content-Length"])).decode()
                with pushes.changed:
                    if not pushes.is_away:
                        pushes.texts.append(said)
                    self.send_response(503 if pushes.is_away else 200)
                    self.end_headers()
                    pushes.changed.notify_all()

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    async def until(self, count: int) -> None:
        def wait() -> None:
            with self.changed:
                assert self.changed.wait_for(lambda: len(self.texts) >= count, 30), self.texts

        await asyncio.to_thread(wait)


@pytest.fixture
def pushes() -> Iterator[Pushes]:
    found = Pushes()
    thread = threading.Thread(target=found.server.serve_forever, daemon=True)
    thread.start()
    yield found
    found.server.shutdown()
    found.server.server_close()
    thread.join()


def with_alice(family: Home, bot: BotApi, more: str) -> Home:
    """Have alice choose how she is told."""
    people = PEOPLE.replace(f"telegram = {ALICE}\n", f"telegram = {ALICE}\n{more}\n")
    family.configure(f'{people}\n[channels.telegram]\nbase_url = "{bot.url}"\n')
    return family


async def ask(orchestrator: Orchestrator, text: str, user: str = "alice", thread: str = "page") -> None:
    """Say something elsewhere than on Telegram."""
    await orchestrator.ask(text, thread_id=thread, context=Context(user=user))


async def test_a_question_from_elsewhere_comes_to_telegram_once_and_is_marked_when_answered_elsewhere(
    family, bot
):
    with_alice(family, bot, 'notify = ["telegram"]')
    async with serving(family) as orchestrator:
        await ask(orchestrator, WRITE)
        card = await bot.text("Please confirm", ALICE)
    async with serving(family) as orchestrator:
        await orchestrator.resume("page", answer=True, context=Context(user="alice"))
        await bot.until(lambda: card.buttons == [] and "approved by alice" in card.text)
        await orchestrator.ledger.settled()
    assert len(bot.sent) == 1, bot.texts()
    assert family.effects == ["write_file"]


async def test_a_question_from_elsewhere_is_answered_by_its_button(family, bot):
    with_alice(family, bot, 'notify = ["telegram"]')
    async with serving(family) as orchestrator:
        await ask(orchestrator, WRITE)
        bot.press(await bot.text("Please confirm", ALICE), "Approve")
        await bot.text("I wrote “buy milk”", ALICE)
    assert family.effects == ["write_file"]


async def test_an_approver_is_asked_on_telegram_wherever_the_question_arose(family, bot):
    async with serving(family) as orchestrator:
        await ask(orchestrator, WRITE, user="kid")
        card = await bot.text("Please confirm", BOB)
        bot.press(card, "Approve")
        await bot.until(lambda: "approved by bob" in card.text)
    assert family.effects == ["write_file"]
    assert {each.chat for each in bot.sent} == {BOB}


async def test_who_has_not_chosen_to_be_told_is_not(family, bot):
    async with serving(family) as orchestrator:
        await ask(orchestrator, WRITE)
        await ask(orchestrator, WRITE, user="kid", thread="other")
        await bot.text("Please confirm", BOB)
    assert {each.chat for each in bot.sent} == {BOB}


async def test_who_is_not_answered_is_reminded_once(family, bot):
    with_alice(family, bot, 'notify = ["telegram"]\nremind_after = 0.001')
    async with serving(family) as orchestrator:
        await ask(orchestrator, WRITE)
        card = await bot.text("Please confirm", ALICE)
        reminder = await bot.text("still waits", ALICE)
        assert reminder.reply_to == card.id
        bot.message(ALICE, "/help")
        await bot.text("/new begins", ALICE)
    assert len(bot.sent) == 3


@pytest.mark.parametrize(
    ("hours", "clock", "quiet"),
    [
        ("22:00-07:00", "23:30", True),
        ("22:00-07:00", "06:59", True),
        ("22:00-07:00", "07:00", False),
        ("22:00-07:00", "12:00", False),
        ("13:00-14:00", "13:00", True),
        ("13:00-14:00", "14:00", False),
        (None, "03:00", False),
    ],
)
def test_quiet_hours_are_on_the_persons_clock_and_may_pass_midnight(hours, clock, quiet):
    assert is_quiet(UserCard(quiet_hours=hours), clock) is quiet


async def test_in_quiet_hours_nobody_is_told(family, bot):
    with_alice(family, bot, 'notify = ["telegram"]\nquiet_hours = "00:00-23:59"')
    async with serving(family) as orchestrator:
        await ask(orchestrator, WRITE)
        await ask(orchestrator, WRITE, user="kid", thread="other")
        await bot.text("Please confirm", BOB)
        rows = await NoticeRows(orchestrator.ledger.access).unsent()
        [held] = [row for row in rows if row["user"] == "alice"]
        assert held["sent_at"] is None
    assert {each.chat for each in bot.sent} == {BOB}


@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")  # apprise's
async def test_a_push_is_sent_once_and_says_no_arguments(family, bot, pushes):
    port = pushes.server.server_port
    family.environ["ALICE_PUSH"] = f"json://127.0.0.1:{port}/"
    family.configure('[users.alice]\nrole = "admin"\nnotify = ["ALICE_PUSH", "page"]\n')
    for _ in range(2):  # a restart repeats nothing
        async with family.opened() as orchestrator:
            if not pushes.texts:
                await ask(orchestrator, WRITE)
            task = asyncio.create_task(serve_notices(orchestrator))
            await pushes.until(1)
            await ask(orchestrator, "what is 1*7", thread="short")
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
    async with family.opened() as orchestrator:
        rows = await NoticeRows(orchestrator.ledger.access).unsent()
        told = {row["place"]: row["sent_at"] for row in rows if row["user"] == "alice"}
    assert told.keys() == {"ALICE_PUSH", "page"}
    assert None not in told.values()
    assert len(pushes.texts) == 1
    assert "write_file" in pushes.texts[0]
    assert "notes.txt" not in pushes.texts[0].replace("to notes.txt", "")


@pytest.mark.parametrize(
    ("status", "seconds", "words"),
    [("failed", 1, "That failed: what is 12*7"), ("answered", 90, "Done: what is 12*7"), ("answered", 1, "")],
)
async def test_a_failure_and_the_end_of_a_long_turn_are_told_once(family, bot, status, seconds, words):
    with_alice(family, bot, 'notify = ["telegram"]')
    async with serving(family) as orchestrator:
        ledger = orchestrator.ledger
        bot.message(BOB, "/help")  # so it looks by now for what ends
        await bot.text("/new begins", BOB)
        await ask(orchestrator, "what is 12*7")
        ledger.record_usage(used(ledger.now() + 0.1, seconds))
        await ledger.touch("page", user="alice", status=status)
        if words:
            assert "the value of 12*7" in (await bot.text(words, ALICE)).text
        await ask(orchestrator, WRITE, thread="other")
        await bot.text("Please confirm", ALICE)
    assert len(bot.texts(ALICE)) == (2 if words else 1)


def used(at: float, seconds: float) -> Use:
    return Use(
        thread="page",
        turn="long",
        user="alice",
        path="two-brain",
        role="orchestrator",
        backend="planner",
        model="m",
        input_tokens=1,
        output_tokens=1,
        cached_tokens=None,
        reasoning_tokens=None,
        counted_tokens=2,
        cost_usd=None,
        duration_ms=seconds * 1_000,
        error=None,
        at=at,
    )
