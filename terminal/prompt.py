"""What a person types: lines and texts, with history and completion."""

import asyncio
import os
import re
import select
import signal
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from storage.sqlite import create_private
from terminal.interrupt import LeftError
from terminal.screen import Screen
from terminal.text import plain

if TYPE_CHECKING:
    from prompt_toolkit import PromptSession
    from prompt_toolkit.completion import CompleteEvent, Completer, Completion
    from prompt_toolkit.document import Document
    from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent


Choices = Callable[[str], Awaitable[Mapping[str, str]]]
"""Returns what may stand behind a command, with what each means."""
_PATH = re.compile(r"""(?:^\s*/file\s+|(?<!\S)@)["']?([^"']*)$""")


class LinePrompt:
    """Asks for one line at a time, or for several.

    Enter ends a text; Alt-Enter begins a line of it, and so does a backslash before Enter, unless it
    `is_exact`. Ctrl-C clears what was typed; where nothing was, it leaves.
    """

    def __init__(  # noqa: PLR0913 (what a prompt is made of)
        self,
        screen: Screen,
        history: Path | None = None,
        *,
        several_lines: bool = False,
        is_exact: bool = False,
        commands: Mapping[str, str] | None = None,
        choices: Choices | None = None,
    ) -> None:
        self._terminal = screen.interactive
        self._stream = sys.stdout if screen.side is screen.out else sys.stderr
        self._style = "bold" if screen.lively else ""
        self._history = history
        self._several_lines = several_lines
        self._is_exact = is_exact
        self._commands = commands
        self._choices = choices

    @cached_property
    def _session(self) -> "PromptSession[str]":
        from prompt_toolkit import PromptSession  # of use where a person is asked, and no sooner
        from prompt_toolkit.history import FileHistory
        from prompt_toolkit.output import create_output

        return PromptSession(
            history=FileHistory(create_private(self._history)) if self._history else None,
            output=create_output(stdout=self._stream),
            multiline=self._several_lines,
            key_bindings=_keys(several_lines=self._several_lines, is_exact=self._is_exact),
            enable_open_in_editor=self._several_lines,  # Ctrl-X Ctrl-E
            tempfile_suffix=".md",
            completer=None if self._commands is None else _completer(self._commands, self._choices),
            complete_while_typing=False,
        )

    def typed_ahead(self) -> str:
        """Return the lines that were typed while nothing was asked."""
        typed = b""
        while self._terminal and select.select([sys.stdin], [], [], 0)[0]:
            data = os.read(sys.stdin.fileno(), 4_096)
            typed += data
            if not data:
                break
        return typed.decode(errors="replace")

    async def line(self, question: str, prefilled: str = "") -> str:
        """Return what was typed, without surrounding blanks.

        Raises:
            LeftError: there was no line: Ctrl-C, Ctrl-D, or the end of a piped input.
        """
        return (await self.text(question, prefilled)).strip()

    async def text(self, question: str, prefilled: str = "") -> str:
        """Return exactly what was typed; raises as `line`."""
        if not self._terminal:
            if line := sys.stdin.readline():
                return line
            raise LeftError
        try:
            return await self._session.prompt_async([(self._style, question)], default=prefilled)
        except (KeyboardInterrupt, EOFError):
            raise LeftError from None


async def agrees(screen: Screen, question: str) -> bool:
    """Ask a person for a yes; Ctrl-C and anything else is none."""
    try:
        return (await LinePrompt(screen).line(f"{question} [y/N] ")).lower() in {"y", "yes"}
    except LeftError:
        return False


async def edited(screen: Screen, text: str) -> str:
    """Return a text as the person's editor leaves it.

    As it was, where that fails, which is said.
    """
    import click

    before = signal.signal(signal.SIGINT, lambda *_: None)  # Ctrl-C is the editor's
    try:
        return await asyncio.to_thread(click.edit, text, extension=".md") or text
    except click.ClickException as error:
        screen.note(f"{plain(error.message)}; the text is as it was. EDITOR names the program.", "yellow")
        return text
    finally:
        signal.signal(signal.SIGINT, before)


def _keys(*, several_lines: bool, is_exact: bool) -> "KeyBindings":
    from prompt_toolkit.key_binding import KeyBindings

    keys = KeyBindings()

    @keys.add("c-c")
    def _clear(event: "KeyPressEvent") -> None:
        if event.current_buffer.text:
            event.current_buffer.reset()
        else:
            event.app.exit(exception=KeyboardInterrupt)

    if several_lines:

        @keys.add("enter")
        def _end(event: "KeyPressEvent") -> None:
            if not is_exact and event.current_buffer.document.text_before_cursor.endswith("\\"):
                event.current_buffer.delete_before_cursor()
                event.current_buffer.insert_text("\n")
            else:
                event.current_buffer.validate_and_handle()

        @keys.add("escape", "enter")
        def _another_line(event: "KeyPressEvent") -> None:
            event.current_buffer.insert_text("\n")

    return keys


def _completer(commands: Mapping[str, str], choices: Choices | None) -> "Completer":
    """Return what completes commands, what follows them, and paths."""
    from prompt_toolkit import completion

    class Typed(completion.Completer):
        def get_completions(self, typed: "Document", event: "CompleteEvent") -> "Iterator[Completion]":
            raise NotImplementedError  # nothing asks for them but an event loop

        async def get_completions_async(
            self, typed: "Document", event: "CompleteEvent"
        ) -> "AsyncGenerator[Completion, None]":
            for each in await _completions(typed.text_before_cursor, event, commands, choices):
                yield each

    return Typed()


async def _completions(
    text: str, event: "CompleteEvent", commands: Mapping[str, str], choices: Choices | None
) -> "list[Completion]":
    from prompt_toolkit import completion, document

    command, blank, begun = text.partition(" ")
    if found := _PATH.search(text):
        paths = completion.PathCompleter(expanduser=True)
        return list(paths.get_completions(document.Document(found[1]), event))
    if blank and choices and command in commands:
        fit = {
            name: means
            for name, means in (await choices(command)).items()
            if name.startswith(begun) or (begun and begun.lower() in means.lower())
        }
    else:
        begun = text
        fit = {name: does for name, does in commands.items() if text and name.startswith(text)}
    return [completion.Completion(name, -len(begun), display_meta=plain(fit[name])) for name in fit]
