"""One HTTP request and its answer, read up to a limit."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import httpx

from tools.declaration import ToolFailure

LIMIT = 2_000_000
"""Bytes of an answer, as sent and as unpacked."""
CUT = f"\n\n[Cut here: only the first {LIMIT:,} bytes were read, and there are more.]"
"""What a result says where an answer went on."""


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
    unpack = _unpacker(response.headers.get("content-encoding", ""), response.url.host)
    body, received = bytearray(), 0
    try:
        async for chunk in response.aiter_raw():
            received += len(chunk)
            body += unpack(chunk, LIMIT + 1 - len(body))
            if len(body) > LIMIT or received > LIMIT:
                break
    except zlib.error as error:
        raise ToolFailure(f"{response.url.host} sent a page that cannot be unpacked: {error}.") from None
    return body


def _unpacker(encoding: str, host: str) -> Callable[[bytes, int], bytes]:
    """Return what unpacks a chunk, unlike httpx to a bounded size."""
    match encoding.strip().lower():
        case "" | "identity":
            return lambda chunk, most: chunk[:most]
        case "gzip" | "x-gzip":
            return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress
    raise ToolFailure(f"{host} sent a page packed as {encoding[:40]!r}, which was not asked for.")


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
