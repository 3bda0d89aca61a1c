"""`twobrain chat`: a conversation on one thread, line by line."""

import contextlib

from base.data_dir import CHAT_HISTORY
from base.errors import TwobrainError
from graphs.session import Orchestrator
from terminal.app import Options
from terminal.card import show_waiting
from terminal.conversation import Conversation, exit_code, thread_of
from terminal.interrupt import EXIT, LeftError
from terminal.prompt import LinePrompt
from terminal.screen import complain
from terminal.text import plain

_HELP = """\
/new      begin a new thread
/thread   show this thread's id
/resume   go on with what was stopped, or answer what waits
/help     show this
/exit     leave, and let a question wait; so do Ctrl-D and Ctrl-C at the prompt
Ctrl-C stops a turn that runs, or a question that is asked. What you type meanwhile is no answer to it."""


async def chat(orchestrator: Orchestrator, thread_id: str | None, options: Options) -> int:
    """Hold a conversation."""
    thread = await thread_of(orchestrator.ledger, thread_id)
    return await Chat(Conversation(orchestrator, options), thread).run()


class Chat:
    """Reads lines and answers them until the person leaves."""

    def __init__(self, talk: Conversation, thread_id: str) -> None:
        self._talk = talk
        self._thread = thread_id
        self._screen = talk.screen
        self._console = talk.screen.side
        self._prompt = LinePrompt(talk.screen, talk.orchestrator.settings.data_dir / CHAT_HISTORY)

    async def run(self) -> int:
        """Hold the conversation; return the exit code."""
        if self._screen.interactive:
            self._console.print("Type /help for the commands, /exit to leave.", style="dim")
        code = 0
        with contextlib.suppress(LeftError):
            while code == 0 and (line := await self._line()) != EXIT:
                code = await self._take(line)
        self._show_thread()
        return code

    async def _line(self) -> str:
        """Return a line, prefilled with what was typed at a question."""
        unsent, self._talk.unsent = self._talk.unsent, ""
        return await self._prompt.line("> ", plain(unsent))

    async def _take(self, line: str) -> int:
        """Do what one line says; a code but 0 ends the conversation."""
        match line:
            case "":
                pass
            case "/new":
                self._thread = await thread_of(self._talk.orchestrator.ledger, None)
                self._show_thread()
            case "/thread":
                self._show_thread()
            case "/help":
                self._console.print(_HELP, style="dim")
            case _ if line.startswith("/") and line != "/resume":
                self._console.print(f"There is no command {plain(line)}; /help lists them.", style="yellow")
            case _:
                return await self._turn_of(line)
        return 0

    async def _turn_of(self, line: str) -> int:
        try:
            talk = self._talk
            result = await (talk.go_on(self._thread) if line == "/resume" else talk.ask(line, self._thread))
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
            show_waiting(self._screen.out, result.pending, self._thread)
        return 0 if self._screen.interactive else exit_code(result)

    def _show_thread(self) -> None:
        self._console.print(f"thread {plain(self._thread)}", style="dim")
