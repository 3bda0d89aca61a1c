"""Reading on in a long result that was stored."""

from typing import Annotated

from storage.long_results import is_untrusted
from tools.declaration import Here, ToolFailure, Untrusted, tool

PAGE = 8_000
"""Bytes of a page: some 2,000 tokens, so that six pages fit the smallest context budget."""


@tool(effect="read", label="Read on", role="guest")
async def read_result(
    here: Here,
    handle: Annotated[str, "the handle, as it stands where a long result was cut"],
    offset: Annotated[int, "the byte to read on from"] = 0,
) -> str:
    """Read on in a result that was too long to be shown whole, a page at a time."""
    stored = here.long_results
    piece = await stored.read(here.user, handle.strip(), offset, PAGE) if stored else None
    if piece is None:
        raise ToolFailure(
            f"There is no stored result {handle!r}. Give the handle exactly as it stands where it was cut."
        )
    if not piece.text:
        raise ToolFailure(f"The result ends at byte {piece.size:,}; {offset:,} is beyond it.")
    page = f"{label(piece.start, piece.end, piece.size)}\n{piece.text}"
    return Untrusted(page) if is_untrusted(handle.strip()) else page  # as what it is a page of


def label(start: int, end: int, size: int) -> str:
    """Return the line above a page: where it stands."""
    after = f"next offset: {end}" if end < size else "the end"
    return f"[bytes {start:,}-{end:,} of {size:,}; {after}]"


TOOLS = (read_result,)
