"""The size of JSON from others, known before it is read."""

import re

_LEFT_FOR_NEXT_BYTES = 16
"""Bytes that are left for the next piece: a line's end and the name of a field fit in."""
_LINE_ENDS = re.compile(rb"[\r\n]++")
_EVENT_END = re.compile(
    rb"(?:\r\n?+|\n){2,}+(?=:|data:|event:|id:|retry:)"
    rb"|(?<=[}\]])\r?\n(?=data: ?\{|event:|\{)"  # some leave the blank line out, or all but the JSON
)
"""Where an event of a stream ends and another begins, and no JSON goes on."""


class JsonSize:
    """What has come of a JSON text, or of a stream's event.

    A library makes an object of each value, which takes far longer than to read as much text. What stands
    within texts is no value, and a line's end is one, which no text holds.
    """

    def __init__(self) -> None:
        self.bytes = 0
        self.values = 0
        self._in_text = False
        self._rest = b""

    def add(self, piece: bytes) -> None:
        """Take what comes next."""
        self.bytes += len(piece)
        text = self._rest + piece
        start, end = 0, max(0, len(text) - _LEFT_FOR_NEXT_BYTES)
        for found in _LINE_ENDS.finditer(text):
            if found.start() >= end:
                break
            self._count(text[start : found.start()])
            self.values += 1  # each line is read by itself
            start, self._in_text = found.end(), False
            if _EVENT_END.match(text, found.start()):
                self.bytes, self.values = len(text) - start, 0
        end = max(start, end)
        line = text[start:end]
        end -= (len(line) - len(line.rstrip(b"\\"))) % 2  # one that escapes what comes next
        self._count(text[start:end])
        self._rest = text[end:]

    def _count(self, line: bytes) -> None:
        parts = line.replace(rb"\\", b"").replace(rb"\"", b"").split(b'"')
        outside = b" ".join(parts[self._in_text :: 2])
        self.values += sum(map(outside.count, (b",", b"[", b"{")))
        self._in_text ^= len(parts) % 2 == 0


def values_in(text: bytes) -> int:
    """Return how many values a JSON text holds, about."""
    size = JsonSize()
    size.add(text + b" " * _LEFT_FOR_NEXT_BYTES)
    return size.values
