"""What the conversation holds of a long result, and a model sees."""

import hashlib
import logging
from dataclasses import dataclass
from typing import Any

from base.errors import StorageError
from nodes.turn.history import CallResult, StoredRange
from nodes.turn.turn import Turn
from storage.long_results import LongResults
from tools.declaration import Tool
from tools.read_result import PAGE, label, read_result
from tools.run import Ran

LONGEST_INLINE = 2_000
"""Characters: a longer result is stored once, and the conversation and the ledger hold its two ends. Inline
it would be written with every copy of the conversation; stored it costs a file and a sync to disk."""
STUB_CHARS = 200
"""Of an old result that has to make room and is not stored; of one that is, the handle is enough."""
_HEAD_CHARS, _TAIL_CHARS = 1_250, 450
_GAP = "\n[…]\n"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ShortResult:
    """A result as the conversation and the ledger keep it."""

    text: str
    stored: StoredRange | None = None
    """Where all of it is; None where the text is all there is."""
    size: int | None = None
    """Bytes of all of it; None: of the text."""
    sha256: str | None = None
    """Of all of it; None: of the text."""


async def store(turn: Turn, tool: Tool, args: dict[str, Any], ran: Ran) -> ShortResult:
    """Return a result in short; a long one is on disk then.

    A page of a stored result is not stored again: what is kept of it points into what it is a page of.
    """
    text = ran.text
    if len(text) <= LONGEST_INLINE:
        return ShortResult(text)
    artifacts, user = turn.res.artifacts, turn.person.user
    try:
        if tool is read_result:
            return await _page(artifacts, user, args, text)
        kept = await artifacts.put(user, text, untrusted=ran.untrusted)
    except Exception as error:  # it ran: what it gave is told as far as there is room for it
        _log.exception("a result of %s was not stored", tool.name)
        return ShortResult(f"{text[:_HEAD_CHARS]}{_GAP}{text[-_TAIL_CHARS:]}\n[The rest is lost. {error}]")
    stored = StoredRange(handle=kept.handle, start=0, end=kept.size, size=kept.size)
    return ShortResult(_ends(stored, text), stored, kept.size, kept.sha256)


async def look(artifacts: LongResults, user: str, result: CallResult, most: int) -> tuple[str, str]:
    """Return what is shown of a result, and what is not.

    `most`: bytes to show, about; 0: its beginning, or the note alone where the note says how to read it.
    """
    stored, text = result.stored, result.text
    if stored is None:
        left = len(text) - (most or STUB_CHARS)
        return (f"{text[:-left]}…", f"[{left:,} characters left out]") if left > 0 else (text, "")
    if not most:
        return "", _note(stored, stored["start"], stored["end"])
    try:
        return await _opened(artifacts, user, stored, most) or (text, "")
    except StorageError:  # its two ends are better than no turn
        _log.exception("the result %s could not be read", stored["handle"])
        return text, ""


async def _page(artifacts: LongResults, user: str, args: dict[str, Any], text: str) -> ShortResult:
    piece = await artifacts.read(user, args["handle"].strip(), args.get("offset", 0), PAGE)
    if piece is None:
        return ShortResult(text)
    stored = StoredRange(handle=args["handle"].strip(), start=piece.start, end=piece.end, size=piece.size)
    content = text.encode()
    return ShortResult(_ends(stored, piece.text), stored, len(content), hashlib.sha256(content).hexdigest())


async def _opened(
    artifacts: LongResults, user: str, stored: StoredRange, most: int
) -> tuple[str, str] | None:
    start, end = stored["start"], stored["end"]
    head_end, tail_start = (end, end) if end - start <= most else (start + most * 2 // 3, end - most // 3)
    head = await artifacts.read(user, stored["handle"], start, head_end - start)
    if head is None:
        return None
    if head_end == end:
        return _labelled(stored, head.text), ""
    tail = await artifacts.read(user, stored["handle"], tail_start, end - tail_start)
    if tail is None:
        return None
    return _labelled(stored, f"{head.text}{_GAP}{tail.text}"), _note(stored, head.end, tail.start)


def _ends(stored: StoredRange, text: str) -> str:
    """Return the ends of a stored text, and how to read on."""
    head, tail = text[:_HEAD_CHARS], text[-_TAIL_CHARS:]
    left = _note(stored, stored["start"] + len(head.encode()), stored["end"] - len(tail.encode()))
    return f"{_labelled(stored, f'{head}{_GAP}{tail}')}\n{left}"


def _labelled(stored: StoredRange, text: str) -> str:
    start, end, size = stored["start"], stored["end"], stored["size"]
    return text if (start, end) == (0, size) else f"{label(start, end, size)}\n{text}"


def _note(stored: StoredRange, first: int, last: int) -> str:
    return (
        f"[Of {stored['size']:,} bytes, those from {first:,} to {last:,} are left out: "
        f'read_result(handle="{stored["handle"]}", offset={first}) reads on.]'
    )
