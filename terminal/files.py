"""Files that a person sends from the terminal: options, `@path`, a pipe."""

import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from base.errors import BadMessageError
from base.settings import Limits
from base.texts import visible
from graphs.attachments import Attachment, content_of

_NAMED = re.compile(r"""(?<!\S)@(?:"([^"]+)"|'([^']+)'|(\S+))""")
_MEGABYTES_FROM = 100_000
"""Bytes from which a size is told in megabytes."""
PIPED = "standard input"


def attachment_at(path: str, limits: Limits) -> Attachment:
    """Return a file, read.

    Raises:
        BadMessageError: it cannot be read, is no file, is too large, or of a kind that no message can bring.
    """
    most, name = _most_bytes(limits), visible(path)
    place = Path(path).expanduser()
    try:
        if place.is_dir():
            raise BadMessageError(f"{name} is a folder. Attach one of its files, or name it in words.")
        with place.open("rb") as file:
            data = file.read(most + 1)
    except (OSError, ValueError, RuntimeError) as error:
        why = getattr(error, "strerror", None) or error
        raise BadMessageError(f"{name} cannot be attached: {why}.") from None
    found = Attachment(place.name, _within(data, most, name))
    content_of("", [found])  # what no message can bring is refused here, before it waits for one
    return found


def piped(limits: Limits) -> list[Attachment]:
    """Return what was piped to standard input, as a file.

    Raises:
        BadMessageError: it is too large.
    """
    if sys.stdin is None or sys.stdin.isatty():
        return []
    most = _most_bytes(limits)
    data = sys.stdin.buffer.read(most + 1)
    return [Attachment(PIPED, _within(data, most, PIPED))] if data.strip() else []


def named_in(text: str, limits: Limits) -> list[Attachment]:
    """Return the files that a line names as `@path`.

    What is no file is words.

    Raises:
        BadMessageError: one cannot be read, or is too large.
    """
    paths = dict.fromkeys(next(filter(None, found)) for found in _NAMED.findall(text))
    return [attachment_at(path, limits) for path in paths if _is_file(path)]


def shown(attachments: Sequence[Attachment]) -> str:
    """Return the names and sizes of files, for a person."""
    return ", ".join(f"{visible(each.name)} ({_size(len(each.data))})" for each in attachments)


def _size(count: int) -> str:
    return f"{count:,} bytes" if count < _MEGABYTES_FROM else f"{count / 1_000_000:.1f} MB"


def _is_file(path: str) -> bool:
    try:
        return os.path.isfile(os.path.expanduser(path))  # noqa: PTH113, PTH111 (one that cannot be looked at is none)
    except ValueError:
        return False


def _most_bytes(limits: Limits) -> int:
    """Return the most that may be read.

    A character takes four bytes at most.
    """
    return max(int(limits.max_attachment_mb * 1_000_000), 4 * limits.max_message_chars)


def _within(data: bytes, most: int, name: str) -> bytes:
    if len(data) > most:
        raise BadMessageError(
            f"{name} has more than {_size(most)}, which is too much for a message. Put it in the workspace "
            "and name it there: the assistant reads files page by page."
        )
    return data
