"""One HTTP request and its answer, read up to a limit."""

import re
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import httpx

from tools.declaration import ToolFailure

LIMIT = 2_000_000
"""Bytes of an answer, as sent and as unpacked."""
CUT = f"\n\n[Cut here: only the first {LIMIT:,} bytes were read, and there are more.]"
"""What a result says where an answer went on."""


_JUDGED_BYTES = 1_024
"""Bytes by which a body that is said to be packed is judged."""
_BINARY = re.compile(rb"[\0-\x08\x0b\x0e-\x1a\x1c-\x1f]")
"""Bytes that stand in no text (https://mimesniff.spec.whatwg.org, as of 2026)."""
_KNOWN = (b"%PDF-", b"\xff\xfe", b"\xfe\xff")
"""How a document begins, and text in UTF-16, which hold such bytes."""

DOUBTFUL = frozenset({404, 408, *range(500, 600)})
"""Statuses that a gateway answers with, whatever the service behind it has done."""


class UnreachableError(ToolFailure):
    """No connection came about, so nothing was sent."""


@dataclass(frozen=True, slots=True)
class Downloaded:
    """What a server sent."""

    url: httpx.URL
    """Where it came from, redirects followed."""
    status: int
    content_type: str
    """As declared, such as `text/html; charset=utf-8`; empty where it was not."""
    body: bytes
    """Unpacked."""
    whole: bool
    """False: it went on beyond the limit."""

    @property
    def kind(self) -> str:
        """The media type alone, in lower case."""
        return self.content_type.partition(";")[0].strip().lower()

    @property
    def ok(self) -> bool:
        """Whether the server did what it was asked."""
        return httpx.codes.is_success(self.status)

    @property
    def verdict(self) -> str:
        """The status in standard words, such as `404 Not Found`."""
        try:
            return f"{self.status} {HTTPStatus(self.status).phrase}"
        except ValueError:
            return str(self.status)

    def require_ok(self) -> None:
        """Raise ToolFailure where the server did not do what it was asked."""
        if not self.ok:
            moved = httpx.codes.is_redirect(self.status)
            hint = "; it points elsewhere, and that is not followed" if moved else ""
            raise ToolFailure(f"{self.url.host} answered {self.verdict}{hint}.")


async def request(client: httpx.AsyncClient, method: str, url: str, **options: Any) -> Downloaded:
    """Send a request and read at most LIMIT bytes of its answer.

    Raises:
        UnreachableError: nothing was sent.
        ToolFailure: the URL is none, or the exchange failed half way.
    """
    headers = {"Accept-Encoding": "gzip", **(options.pop("headers", None) or {})}
    try:
        async with client.stream(method, url, headers=headers, **options) as response:
            body = await _read(response)
    except httpx.InvalidURL as error:
        raise UnreachableError(f"That is not a URL: {str(error)[:200]}.") from None
    except httpx.HTTPError as error:
        raise _failure(error, client.max_redirects) from None
    whole = len(body) <= LIMIT
    content_type = response.headers.get("content-type", "")
    return Downloaded(response.url, response.status_code, content_type, bytes(body[:LIMIT]), whole)


async def _read(response: httpx.Response) -> bytearray:
    """Return the unpacked body, longer than LIMIT where there was more."""
    declared = response.headers.get("content-encoding", "")
    codings = [each for each in re.split(r"[,\s]+", declared.lower()) if each not in {"", "identity"}]
    body, received, unpack = bytearray(), 0, None
    try:
        async for chunk in response.aiter_raw():
            received += len(chunk)
            unpack = unpack or _unpacker(codings, chunk)
            body += unpack(chunk, LIMIT + 1 - len(body))
            if len(body) > LIMIT or received > LIMIT:
                break
    except zlib.error as error:
        raise ToolFailure(f"{response.url.host} sent a page that cannot be unpacked: {error}.") from None
    if codings and _BINARY.search(body[:_JUDGED_BYTES]) and not body.startswith(_KNOWN):
        told = f"{response.url.host} sent a page packed as {declared[:40]!r}"
        raise ToolFailure(f"{told}, which was not asked for.")
    return body


def _unpacker(codings: list[str], start: bytes) -> Callable[[bytes, int], bytes]:
    """Return what unpacks chunks, unlike httpx to a bounded size.

    What it undoes leaves the codings. A body is judged by its start: servers declare what is no packing at
    all (`none`, `utf-8`), or one that they did not use.
    """
    for name in ("gzip", "x-gzip", "deflate"):
        if name in codings and (bits := _packing(name, start)):
            codings.remove(name)
            return zlib.decompressobj(bits).decompress
    return lambda chunk, most: chunk[:most]


def _packing(name: str, start: bytes) -> int:
    """Return zlib's number of a packing; 0: it is none."""
    if b"\x1f\x8b".startswith(start[:2]):
        return zlib.MAX_WBITS | 16
    for bits in (zlib.MAX_WBITS, -zlib.MAX_WBITS) if name == "deflate" else ():  # some leave its head out
        trial = zlib.decompressobj(bits)
        with suppress(zlib.error):
            trial.decompress(start, LIMIT)
            if not trial.unused_data:
                return bits
    return 0


def _failure(error: httpx.HTTPError, redirects: int) -> ToolFailure:
    host = error.request.url.host
    match error:
        case httpx.LocalProtocolError():  # its words may quote a header's value
            return UnreachableError(f"The request to {host} holds what HTTP cannot carry; it was not sent.")
        case httpx.ConnectTimeout():
            return UnreachableError(f"{host} cannot be reached: no connection in time.")
        case httpx.ConnectError():
            return UnreachableError(f"{host} cannot be reached: {error}.")
        case httpx.TooManyRedirects():
            return ToolFailure(f"{host} redirects more than {redirects} times.")
        case httpx.TimeoutException():
            return ToolFailure(f"{host} stopped answering.")
    return ToolFailure(f"{host} broke off: {error}.")
