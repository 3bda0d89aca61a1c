"""`twobrain chat`: one conversation, line by line; Ctrl-C stops its turn."""

import contextlib
from datetime import datetime
from functools import partial

from base.data_dir import CHAT_HISTORY
from base.errors import BadMessageError, ConfigurationError, TwobrainError, UnknownThreadError
from base.settings import LOCAL
from channels.notices import told_here
from graphs.attachments import Attachment
from graphs.session import Orchestrator
from graphs.transcript import messages_of
from terminal.app import Options, Which
from terminal.commands.conversations.choices import (
    FIELDS,
    choices_after,
    show_choices,
    show_tools,
    show_usage,
)
from terminal.commands.conversations.show import print_message
from terminal.conversation import Conversation, exit_code, last_thread, thread_of
from terminal.files import attachment_at, named_in, shown
from terminal.interrupt import EXIT, LeftError
from terminal.prompt import LinePrompt, edited
from terminal.screen import complain
from terminal.text import one_line, plain

_COMMANDS = {
    "/file": "attach a file to the next message: /file PATH; or write @PATH in the message",
    "/edit": "write the next message in your editor; so does Ctrl-X Ctrl-E",
    "/model": "show the models, or choose the one that reasons: /model NAME",
    "/writer": "choose the one that writes: /writer NAME",
    "/path": "show the path, or choose one: /path single",
    "/tools": "list the tools, or describe one: /tools NAME",
    "/usage": "show what this thread and today took, and what is left",
    "/new": "begin a new thread",
    "/thread": "show this thread's id, or go to another: /thread ID",
    "/resume": "go on with what was stopped, or answer what waits",
    "/help": "show this",
    EXIT: "leave, and let a question wait; so do exit, quit, Ctrl-D, and Ctrl-C at an empty prompt",
}
_KEYS = """\
Alt-Enter, or \\ at the end of a line, begins another line. Tab completes commands and paths.
Ctrl-C clears what you typed, or stops a turn or a question. What you type meanwhile is no answer to it."""
_OFFERED_CONVERSATIONS = 15
_SHOWN_MESSAGES = 4
"""Messages of a conversation that is gone on with."""
_TITLE_WIDTH = 60
_AT_SERVER = "That is not told here of a server; its page tells it, and chooses models. /path NAME works."
_LEAVING = {EXIT, "exit", "quit", "/quit"}


async def chat(orchestrator: Orchestrator, thread_id: str | Which | None, options: Options) -> int:
    """Hold a conversation; one that goes on is shown first."""
    talk, ledger = Conversation(orchestrator, options), orchestrator.ledger
    if thread_id is Which.PICKED:
        thread = await _picked(talk, options.user or LOCAL)
    else:
        thread = await thread_of(ledger, thread_id, options.user)
    if talk.screen.interactive and thread_id is not None:
        await _show_end(talk, thread)
    return await Chat(talk, thread).run()


async def _picked(talk: Conversation, user: str) -> str:
    """Let a person pick one of the conversations used last.

    Raises:
        ConfigurationError: nobody is here to be asked.
        UnknownThreadError: there is none.
    """
    if not talk.screen.interactive:
        raise ConfigurationError("Nobody is here to pick a conversation: name it with --thread, or say -c.")
    await last_thread(talk.orchestrator.ledger, user)  # there is one
    rows = (await talk.orchestrator.ledger.threads(user=user))[-_OFFERED_CONVERSATIONS:][::-1]
    zone = talk.orchestrator.settings.zone(user)
    for number, row in enumerate(rows, 1):
        used = datetime.fromtimestamp(row["updated_at"], zone)
        title = one_line(row["title"] or row["thread"], _TITLE_WIDTH)
        talk.screen.out.print(f"{number:>2}  {used:%d %b %H:%M}  {title}", soft_wrap=True)
    prompt = LinePrompt(talk.screen)
    while True:
        typed = await prompt.line(f"Which one? 1 to {len(rows)} > ")
        if typed.isdecimal() and 1 <= int(typed) <= len(rows):
            return str(rows[int(typed) - 1]["thread"])


async def _show_end(talk: Conversation, thread: str) -> None:
    """Show what was said last, or that nothing was."""
    try:
        snapshot = await talk.orchestrator.snapshot(thread, context=talk.context)
    except UnknownThreadError:
        if await talk.orchestrator.ledger.thread(thread):
            raise
        talk.screen.note(f"There is no thread {plain(thread)} yet: this begins it.", "dim")
        return
    said = messages_of(snapshot.values)
    if len(said) > _SHOWN_MESSAGES:
        talk.screen.note(f"… {len(said) - _SHOWN_MESSAGES} messages before; twobrain show has all.", "dim")
    for message in said[-_SHOWN_MESSAGES:]:
        print_message(talk.screen, message)
    if snapshot.interrupts:
        talk.screen.note("It waits for your answer: /resume asks.", "yellow")


class Chat:
    """Reads lines and answers them until the person leaves."""

    def __init__(self, talk: Conversation, thread_id: str) -> None:
        self._talk = talk
        self._thread = thread_id
        self._screen = talk.screen
        self._console = talk.screen.side
        history = talk.orchestrator.settings.data_dir / CHAT_HISTORY
        self._prompt = LinePrompt(
            talk.screen, history, several_lines=True, commands=_COMMANDS, choices=partial(choices_after, talk)
        )
        self._attached: list[Attachment] = []
        self._draft = ""

    async def run(self) -> int:
        """Hold the conversation; return the exit code."""
        if self._screen.interactive:
            self._console.print("Type /help for the commands, /exit to leave.", style="dim")
        code = 0
        with contextlib.suppress(LeftError):
            while code == 0 and (line := await self._line()) not in _LEAVING:
                code = await self._take(line)
        self._show_thread()
        return code

    async def _line(self) -> str:
        """Return a line, prefilled with what was typed at a question.

        What came due meanwhile is told first.
        """
        if self._screen.interactive and not self._talk.at_server:
            for words in await told_here(self._talk.orchestrator, self._talk.user):
                self._console.print(plain(words), style="bold")
        unsent, self._talk.unsent = self._talk.unsent or self._draft, ""
        self._draft = ""
        return await self._prompt.line("> ", plain(unsent))

    async def _take(self, line: str) -> int:
        """Do what one line says; a code but 0 ends the conversation."""
        match line.split(maxsplit=1):
            case []:
                pass
            case ["/new" | "/thread" as command, *given]:
                await self._go_to(command, "".join(given).strip())
            case ["/model" | "/writer" | "/path" | "/tools" | "/usage" as command, *given]:
                await self._choose(command, given[0].strip() if given else "")
            case ["/help"]:
                told = "\n".join(f"{name:<9} {does}" for name, does in _COMMANDS.items())
                self._console.print(f"{told}\n{_KEYS}", style="dim")
            case ["/file", *path]:
                self._attach("".join(path))
            case ["/edit", *begun]:
                self._draft = (await edited(self._screen, " ".join(begun))).strip()
            case [word, *_] if word.startswith("/") and line != "/resume" and "/" not in word[1:]:
                self._console.print(f"There is no command {plain(word)}; /help lists them.", style="yellow")
            case _:
                return await self._turn_of(line)
        return 0

    async def _go_to(self, command: str, name: str) -> None:
        """Go to a new or another conversation, shown from its end."""
        try:
            if name or command == "/new":
                thread = await thread_of(self._talk.orchestrator.ledger, name or None)
                if name:
                    await _show_end(self._talk, thread)
                self._thread = thread
            self._show_thread()
        except TwobrainError as error:
            complain(str(error))

    async def _choose(self, command: str, name: str) -> None:
        """Choose for the turns to come, or show what there is."""
        talk = self._talk
        try:
            if talk.at_server and not (command == "/path" and name):
                self._console.print(_AT_SERVER, style="yellow")
            elif command == "/tools":
                await show_tools(talk, name)
            elif command == "/usage":
                await show_usage(talk, self._thread)
            else:
                if name:
                    talk.choose(**{FIELDS[command]: name})
                if not talk.at_server:
                    show_choices(talk, command)
        except TwobrainError as error:
            complain(str(error))

    def _attach(self, path: str) -> None:
        if not path:
            self._console.print("Say which: /file PATH", style="yellow")
            return
        try:
            path = path.strip().strip("\"'")
            self._attached.append(attachment_at(path, self._talk.orchestrator.settings.limits))
        except BadMessageError as error:
            complain(str(error))
        else:
            self._console.print(f"With the next message: {shown(self._attached)}", style="dim")

    async def _turn_of(self, line: str) -> int:
        try:
            talk = self._talk
            if line == "/resume":
                result = await talk.go_on(self._thread)
            else:
                named = named_in(line, talk.orchestrator.settings.limits)
                if named:
                    self._console.print(f"Attached: {shown(named)}", style="dim")
                result = await talk.ask(line, self._thread, [*self._attached, *named])
                self._attached = []
        except LeftError as left:
            if EXIT in left.args:
                raise
            self._console.print("Stopped. /resume goes on from here.", style="yellow")
            return 0
        except TwobrainError as error:
            if not self._screen.interactive:
                raise
            complain(str(error))
            return 0
        waits_for_others = result.pending is not None and not self._talk.may_agree(result.pending)
        if result.pending is not None and (waits_for_others or not self._screen.interactive):
            await self._talk.show_waiting(self._thread, result.pending)
        return 0 if self._screen.interactive else exit_code(result)

    def _show_thread(self) -> None:
        self._console.print(f"thread {plain(self._thread)}", style="dim")
