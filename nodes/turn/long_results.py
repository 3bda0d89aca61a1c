"""Long results: what the conversation keeps of one, and what a model is shown of it."""

import hashlib
import logging
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import ToolMessage

from base.errors import StorageError
from nodes.turn.calls import Whole, whole_of
from nodes.turn.turn import Turn
from storage.long_results import LongResults
from tools.declaration import Tool
from tools.read_result import label, open_page, read_result

LONGEST_KEPT = 2_000
"""Characters: a longer result is stored once, and the conversation and the ledger hold its two ends. Inline
it would be written with every copy of the conversation; stored it costs a file and a sync to disk."""
STUB_CHARS = 200
"""Of an old result that has to make room and is not stored; of one that is, the handle is enough."""
_HEAD, _TAIL = 1_250, 450
_GAP = "\n[…]\n"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Stored:
    """A result as the conversation and the ledger keep it."""

    text: str
    whole: Whole | None = None
    """Where the whole is; None where the text is all there is."""
    size: int | None = None
    """Bytes of the whole; None: of the text."""
    sha256: str | None = None
    """Of the whole; None: of the text."""


async def store(turn: Turn, tool: Tool, args: dict[str, Any], text: str) -> Stored:
    """Return a result as it is kept; a long one is on disk when this returns.

    A page of a stored result is not stored again: what is kept of it points into what it is a page of.
    """
    if len(text) <= LONGEST_KEPT:
        return Stored(text)
    artifacts, user = turn.res.artifacts, turn.person.user
    try:
        if tool is read_result:
            return await _page(artifacts, user, args, text)
        kept = await artifacts.put(user, text, untrusted=tool.untrusted)
    except StorageError as error:  # it ran: what it gave is told as far as there is room for it
        _log.exception("a result of %s was not stored", tool.name)
        return Stored(f"{text[:_HEAD]}{_GAP}{text[-_TAIL:]}\n[The rest is lost. {error}]")
    whole = Whole(handle=kept.handle, start=0, end=kept.size, size=kept.size)
    return Stored(_ends(whole, text), whole, kept.size, kept.sha256)


async def look(artifacts: LongResults, user: str, message: ToolMessage, most: int) -> tuple[str, str]:
    """Return what a model is shown of a result, and a note of ours on what is left out.

    Args:
        artifacts: where long results are.
        user: whose turn it is.
        message: the result.
        most: bytes to show, about; 0: its beginning, or the note alone where the note says how to read it.
    """
    whole, text = whole_of(message), message.text
    if whole is None:
        return _clipped(text, most or STUB_CHARS)
    if not most:
        return "", _note(whole, whole["start"], whole["end"])
    try:
        return await _opened(artifacts, user, whole, most) or (text, "")
    except StorageError:  # its two ends are better than no turn
        _log.exception("the result %s could not be read", whole["handle"])
        return text, ""


async def _page(artifacts: LongResults, user: str, args: dict[str, Any], text: str) -> Stored:
    piece = await open_page(artifacts, user, **args)
    if piece is None:
        return Stored(text)
    whole = Whole(handle=args["handle"].strip(), start=piece.start, end=piece.end, size=piece.size)
    content = text.encode()
    return Stored(_ends(whole, piece.text), whole, len(content), hashlib.sha256(content).hexdigest())


async def _opened(artifacts: LongResults, user: str, whole: Whole, most: int) -> tuple[str, str] | None:
    start, end = whole["start"], whole["end"]
    head_end, tail_start = (end, end) if end - start <= most else (start + most * 2 // 3, end - most // 3)
    head = await artifacts.read(user, whole["handle"], start, head_end - start)
    if head is None:
        return None
    if head_end == end:
        return _labelled(whole, head.text), ""
    tail = await artifacts.read(user, whole["handle"], tail_start, end - tail_start)
    if tail is None:
        return None
    return _labelled(whole, f"{head.text}{_GAP}{tail.text}"), _note(whole, head.end, tail.start)


def _ends(whole: Whole, text: str) -> str:
    """Return the two ends of a text that is stored, with how to read what lies between."""
    head, tail = text[:_HEAD], text[-_TAIL:]
    left = _note(whole, whole["start"] + len(head.encode()), whole["end"] - len(tail.encode()))
    return f"{_labelled(whole, f'{head}{_GAP}{tail}')}\n{left}"


def _clipped(text: str, most: int) -> tuple[str, str]:
    left = len(text) - most
    return (f"{text[:most]}…", f"[{left:,} characters left out]") if left > 0 else (text, "")


def _labelled(whole: Whole, text: str) -> str:
    start, end, size = whole["start"], whole["end"], whole["size"]
    return text if (start, end) == (0, size) else f"{label(start, end, size)}\n{text}"


def _note(whole: Whole, first: int, last: int) -> str:
    return (
        f"[Of {whole['size']:,} bytes, those from {first:,} to {last:,} are left out: "
        f'read_result(handle="{whole["handle"]}", offset={first}) reads on.]'
    )
