"""Bodies of replies over HTTP, bounded before a client library reads them."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable
from contextlib import aclosing
from functools import partial
from typing import Any

from base.errors import Cause
from base.json_size import JsonSize
from models.failures import UnusableReplyError, cause_of_status
from models.responses import library_of, replace_body, stream_of

MOST_BYTES = 5_000_000
"""Of a body, or of an event of a stream: a million characters, however they are written."""
MOST_VALUES = 10_000
"""Of the same, texts left out, where arguments come as objects: twice as many as are read of these. To make
objects of so many empty lists takes a client library up to 90 ms."""
_PIECE_BYTES = 2_000
"""Bytes: more hold so many small events of a stream, or unpack to so much, that reading them takes long."""
_SHARE_S = 0.01
"""After which others have a turn on the event loop, though more of the body is there."""
_PACKED = {"br", "zstd"}
"""What clients unpack to any size at once."""
Hook = Callable[..., Awaitable[None]]


def hooks(in_order: Hook, most_values: int = MOST_VALUES) -> dict[str, list[Hook]]:
    """Return the `event_hooks` of a provider's httpx client, whichever httpx that is."""
    return {"request": [_ask_unpacked], "response": [partial(_bound, most_values), in_order]}


async def _ask_unpacked(request: Any) -> None:
    request.headers["accept-encoding"] = "identity"


async def _bound(most_values: int, response: Any) -> None:
    """Give a response an unpacked body that ends where too large."""
    packing = {each.strip().lower() for each in response.headers.get("content-encoding", "").split(",")}
    if packing & _PACKED:
        raise UnusableReplyError("it packs its replies although it was asked not to")
    library, status = library_of(response), response.status_code
    cause = cause_of_status(status) if status >= 400 else "malformed"  # noqa: PLR2004 (HTTP's errors)
    stream = stream_of(library, _in_pieces(response.stream), response.stream.aclose)
    packed = library.Response(status, headers=response.headers, stream=stream)  # unpacks it
    replace_body(library, response, _bounded(packed.aiter_bytes(), most_values, cause), packed.aclose)


async def _in_pieces(stream: AsyncIterable[bytes]) -> AsyncGenerator[bytes, None]:
    async for whole in stream:
        for start in range(0, len(whole), _PIECE_BYTES):
            yield whole[start : start + _PIECE_BYTES]


async def _bounded(
    pieces: AsyncGenerator[bytes, None], most_values: int, cause: Cause
) -> AsyncGenerator[bytes, None]:
    """Yield a body, and give others a turn on the event loop.

    Raises:
        UnusableReplyError: it is larger than what is read.
    """
    size, share_ends = JsonSize(), time.monotonic() + _SHARE_S
    async with aclosing(pieces):
        async for piece in _in_pieces(pieces):
            size.add(piece)
            _require(size, most_values, cause)
            yield piece
            if time.monotonic() > share_ends:
                await asyncio.sleep(0)
                share_ends = time.monotonic() + _SHARE_S


def _require(size: JsonSize, most_values: int, cause: Cause) -> None:
    if size.bytes > MOST_BYTES:
        raise UnusableReplyError(f"its reply is longer than {MOST_BYTES:,} bytes, and was left unread", cause)
    if size.values > most_values:
        what = f"more than {most_values:,} values beside its text"
        raise UnusableReplyError(f"its reply holds {what}, and was left unread", cause)
