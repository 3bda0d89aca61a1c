"""Markdown in a terminal: rendered block by block as it streams."""

import os
import re
from typing import ClassVar

from markdown_it import MarkdownIt
from rich import markdown
from rich.console import Console
from rich.live import Live

from terminal.text import plain

_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})(.*)")
_MOST_LINES = 60
"""Of a code block that is still being written; then what is there is shown for good."""
_SHOWN_CHARS = 8_000
"""Of the block that is being written."""
_SYNTAX = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"]).disable("image")
"""Tags stay text, and pictures links: nothing that was said is left out."""


class _Heading(markdown.Heading):
    """A heading, always at the left."""

    LEVEL_ALIGN: ClassVar = {}


class Rendered(markdown.Markdown):
    """A Markdown text; addresses are shown beside what they are called."""

    elements: ClassVar = {**markdown.Markdown.elements, "heading_open": _Heading}

    def __init__(self, text: str) -> None:
        super().__init__("", code_theme=_theme(), hyperlinks=False)
        self.markup = text
        self.parsed = _SYNTAX.parse(text)


class MarkdownFlow:
    """Shows a text that grows, block by block."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None
        self._block: list[str] = []
        """Whole lines of the block that is being written."""
        self._line = ""
        self._fence = ""
        """What the open code block began with; empty: none is open."""
        self._is_first = True

    def feed(self, text: str) -> None:
        """Take more of the text."""
        *lines, self._line = (self._line + plain(text)).split("\n")
        for line in lines:
            self._take(line)
        if self._live is None:
            self._live = Live(console=self._console, transient=True, get_renderable=self._last_block)
            self._live.start()

    def end(self) -> None:
        """Show what is left, and end the line."""
        if self._line:
            self._take(self._line)
        self._line = ""
        self._show()
        if self._live:
            self._live.stop()
        self._live, self._fence, self._is_first = None, "", True

    def _take(self, line: str) -> None:
        if self._fence:
            self._block.append(line)
            if _closes(line, self._fence):
                self._fence = ""
            elif len(self._block) > _MOST_LINES:
                self._show()
                self._block = [self._fence]
        elif line.strip():
            self._fence = line if _FENCE.match(line) else ""
            self._block.append(line)
        else:
            self._show()

    def _show(self) -> None:
        """Show the block for good; an open code block ends there."""
        if self._block:
            shown, self._block = Rendered("\n".join(self._block)), []
            self._console.print(*([] if self._is_first else [""]), shown, sep="\n")
            self._is_first = False

    def _last_block(self) -> Rendered:
        text = "\n".join([*self._block, self._line])
        return Rendered(text[-_SHOWN_CHARS:])


def _closes(line: str, fence: str) -> bool:
    """Tell whether a line ends the code block that a fence began."""
    opened, found = _FENCE.match(fence), _FENCE.match(line)
    return bool(opened and found and found[1].startswith(opened[1]) and not found[2].strip())


def _theme() -> str:
    """Return the colours of code, light where the terminal is."""
    ground = os.environ.get("COLORFGBG", "").rpartition(";")[2]
    return "ansi_light" if ground in {"7", "15"} else "ansi_dark"
