"""What the commands that run a turn do once their arguments are read; each returns the exit code."""

import secrets
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from pydantic import ValidationError

from base.errors import ConfigurationError, NothingPendingError
from base.settings import Settings
from base.texts import check_thread
from doctor.diagnose import condition_of, diagnose
from graphs.events import Result
from graphs.session import Orchestrator
from graphs.stale_answers import too_late
from nodes.context import LOCAL, Context
from terminal import card, tables
from terminal.commands.chat import Chat
from terminal.conversation import Conversation, exit_code
from terminal.interrupt import LeftError
from terminal.opening import run
from terminal.screen import Screen, open_screen
from terminal.text import plain


@dataclass(frozen=True)
class Wish:
    """The options that commands which run a turn share."""

    user: str | None = None
    """None: as it was when the turn began."""
    path: Literal["auto", "two-brain", "single", "direct"] | None = None
    json: bool = False
    consent: bool | None = None


def ask(task: str, thread_id: str | None, wish: Wish) -> int:
    """Run one turn; `-` reads the task from standard input."""
    text = sys.stdin.read() if task == "-" else task
    thread = _thread(thread_id)
    return _one_turn(thread, wish, lambda talk: talk.ask(text, thread))


def resume(thread_id: str, wish: Wish) -> int:
    """Go on with a turn that was cut short, or with the gate it waits at."""

    async def gone_on(talk: Conversation) -> Result:
        if not talk.quiet and condition_of(await talk.orchestrator.snapshot(thread_id)) in {
            "answered",
            "failed",
        }:
            talk.screen.side.print("That turn had ended; this is how.", style="dim")
        return await talk.go_on(thread_id)

    return _one_turn(thread_id, wish, gone_on)


def decide(thread_id: str, wish: Wish, *, yes: bool, reason: str = "") -> int:
    """Answer every waiting call of a thread with yes or no, and go on."""

    async def answered(talk: Conversation) -> Result:
        standing = await talk.orchestrator.result(thread_id)
        if standing.pending is None:
            found = await diagnose(talk.orchestrator, thread_id)
            if found.condition == "interrupted":
                raise NothingPendingError(found.sentence)
            raise await too_late(talk.orchestrator.ledger, thread_id)
        return await talk.answer(thread_id, card.answer_all(standing.pending, yes=yes, reason=reason))

    return _one_turn(thread_id, wish, answered)


def chat(thread_id: str | None, wish: Wish) -> int:
    """Hold a conversation."""
    screen = open_screen()

    async def held(orchestrator: Orchestrator) -> int:
        talk = Conversation(orchestrator, _context(wish, orchestrator.settings), screen, wish.consent)
        return await Chat(talk, _thread(thread_id)).run()

    return run(held)


def _one_turn(thread_id: str, wish: Wish, work: Callable[[Conversation], Awaitable[Result]]) -> int:
    screen = open_screen(machine=wish.json)

    async def opened(orchestrator: Orchestrator) -> int:
        context = _context(wish, orchestrator.settings)
        talk = Conversation(orchestrator, context, screen, wish.consent, quiet=wish.json)
        try:
            result = await work(talk)
        except LeftError:
            command = f"twobrain resume {card.named(thread_id)}"
            screen.side.print(f"Stopped. Go on with: {command}", style="yellow", soft_wrap=True)
            return 130
        _report(screen, result, wish)
        return exit_code(result)

    return run(opened)


def _report(screen: Screen, result: Result, wish: Wish) -> None:
    if wish.json:
        tables.show_json(screen, result.to_json())
    elif result.pending is not None:
        card.show(screen.out, result.pending)
        card.show_how_to_answer(screen.out, result.thread_id)
    else:
        screen.side.print(f"thread {plain(result.thread_id)}", style="dim", soft_wrap=True)


def _thread(given: str | None) -> str:
    if given is None:
        return secrets.token_hex(4)
    check_thread(given)
    return given


def _context(wish: Wish, settings: Settings) -> Context:
    if wish.user and wish.user != LOCAL and wish.user not in settings.users:
        known = ", ".join([LOCAL, *(name for name in settings.users if name != LOCAL)])
        raise ConfigurationError(
            f"--user {wish.user!r}: twobrain.toml has no such user. Correct the name ({known}), or add a "
            f"[users.{wish.user}] table."
        )
    try:
        given = {"user": wish.user, "path": wish.path}
        return Context.model_validate({name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        problem = error.errors()[0]
        raise ConfigurationError(f"--{problem['loc'][0]}: {problem['msg']}.") from None
