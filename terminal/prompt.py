"""Lines that a person types, with history where a file is given."""

import os
import select
import sys
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from storage.sqlite import create_private
from terminal.interrupt import LeftError
from terminal.screen import Screen

if TYPE_CHECKING:
    from prompt_toolkit import PromptSession


class LinePrompt:
    """Asks for one line at a time."""

    def __init__(self, screen: Screen, history: Path | None = None) -> None:
        self._terminal = screen.interactive
        self._stream = sys.stdout if screen.side is screen.out else sys.stderr
        self._style = "bold" if screen.lively else ""
        self._history = history

    @cached_property
    def _session(self) -> "PromptSession[str]":
        from prompt_toolkit import PromptSession  # of use where a person is asked, and no sooner
        from prompt_toolkit.history import FileHistory
        from prompt_toolkit.output import create_output

        return PromptSession(
            history=FileHistory(create_private(self._history)) if self._history else None,
            output=create_output(stdout=self._stream),
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
        if not self._terminal:
            if line := sys.stdin.readline():
                return line.strip()
            raise LeftError
        try:
            typed = await self._session.prompt_async([(self._style, question)], default=prefilled)
        except (KeyboardInterrupt, EOFError):
            raise LeftError from None
        return typed.strip()
