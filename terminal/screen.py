"""The two streams of a terminal, and what each may show."""

import os
import sys
from dataclasses import dataclass
from typing import TextIO

from rich.console import Console

from terminal.text import plain

_PIPE_WIDTH = 1000
"""Characters; a pipe has no width, and a cut table row is of no use to a program."""


@dataclass(frozen=True)
class Screen:
    """Where a command writes."""

    out: Console
    """What was asked for: the answer, a table."""
    side: Console
    """What happens meanwhile: `out` in a terminal, standard error where `out` is piped."""
    lively: bool
    """Whether spinners may turn."""
    interactive: bool
    """Whether a person is there to answer."""

    def note(self, text: str, style: str = "") -> None:
        """Tell a person something beside the output, in one unwrapped line."""
        self.side.print(text, style=style, soft_wrap=True)


def open_screen(*, machine: bool = False) -> Screen:
    """Look at the standard streams and NO_COLOR.

    `machine`: standard output belongs to a program, which gets nothing but what was asked for.
    """
    out = _console(sys.stdout)
    side = out if out.is_terminal and not machine else _console(sys.stderr)
    lively = side is out and not out.is_dumb_terminal and out.color_system is not None
    return Screen(out, side, lively, interactive=sys.stdin.isatty() and side.is_terminal)


def complain(message: str) -> None:
    """Say what went wrong, on standard error."""
    _console(sys.stderr).print(plain(message), style="red")


def _console(file: TextIO) -> Console:
    terminal = file.isatty()
    coloured = terminal and not os.environ.get("NO_COLOR")
    console = Console(
        file=file,
        force_terminal=terminal,
        color_system="auto" if coloured else None,
        width=None if terminal else _PIPE_WIDTH,
        highlight=False,
        markup=False,
        emoji=False,
    )
    if console.is_dumb_terminal and (size := os.get_terminal_size(file.fileno())).columns:
        console.size = size  # rich takes such a one to have 80 columns
    return console
