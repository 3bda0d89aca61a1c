"""Text that is safe in a terminal: nothing in it steers that."""

import json
import re
from collections.abc import Callable
from typing import Any

from rich.cells import cell_len

from base.texts import ESCAPES

_CONTROLS = "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
_WIDE = "\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe4f\uff00-\uff60\U00020000-\U0003fffd"
_PIECES = rf"\n|[^\S\n]+|[{_WIDE}]|[^\s{_WIDE}]+"
"""Patterns, compiled as they are first used: that takes longer than to import all else here."""


def plain(text: str) -> str:
    r"""Return the text without escape sequences, bidi overrides and most controls."""
    return re.sub(_CONTROLS, "", re.sub(ESCAPES, "", text))


def one_line(text: str, width: int) -> str:
    """Return the first line that says something, cut at `width` characters."""
    lines = (line.strip() for line in plain(text).splitlines())
    first = next((line for line in lines if line), "")
    return first if len(first) <= width else first[: width - 1].rstrip() + "…"


def json_line(value: Any) -> str:
    """Return readable JSON on one line that is safe in a terminal."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return re.sub(_CONTROLS, lambda found: f"\\u{ord(found[0]):04x}", text)


class Flow:
    """Streamed text, broken between words at `width` cells; None: not at all."""

    def __init__(self, write: Callable[[str], None], width: int | None) -> None:
        self._write = write
        self._width = width
        self._held = ""
        self._gap = ""
        self._column = 0

    def feed(self, text: str) -> None:
        """Write what is complete; hold back a word that may go on."""
        pieces = re.findall(_PIECES, plain(self._held + text))
        self._held = pieces.pop() if pieces else ""
        for piece in pieces:
            self._put(piece)

    def end(self) -> None:
        """Write what is left and end the line."""
        self._put(self._held)
        self._held = ""
        if self._column:
            self._put("\n")

    def _put(self, piece: str) -> None:
        if piece == "\n":
            self._gap, self._column = "", 0
            self._write(piece)
        elif piece.isspace():
            self._gap += piece.expandtabs(4)
        elif piece:
            width = cell_len(piece)
            if self._width and self._column and self._column + len(self._gap) + width > self._width:
                self._put("\n")
            self._write(self._gap + piece)
            self._column += len(self._gap) + width
            self._gap = ""
