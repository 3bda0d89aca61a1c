"""An HTTP client for tools: public addresses, and hosts opened by name.

A URL may come from a stranger's text. Each request, each redirect among them, is judged by its URL,
then by every address its host has, and then goes to just the address that was judged: a name that
changes its address in between (DNS rebinding) gains nothing.
"""

import asyncio
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Annotated, Any, Self

import httpx
from pydantic import AfterValidator

from base.settings import Card, Settings
from tools.declaration import ToolFailure

Address = IPv4Address | IPv6Address
Resolve = Callable[[str, int], Awaitable[list[str]]]
"""From a host and port to its addresses, best first; raises OSError where it has none."""

_DEFAULT_PORTS = {"http": 80, "https": 443}
_AGENT = "twobrain (personal assistant)"
_PATIENCE = httpx.Timeout(15, connect=10)
_MOST_PORTS = 65_535

_REFUSED = {
    "an unspecified address": "0.0.0.0/8 ::/128",
    "a loopback address": "127.0.0.0/8 ::1/128",
    "a private address": "10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 fc00::/7 fec0::/10",
    "an address behind a carrier's NAT": "100.64.0.0/10",
    "a cloud's metadata address": "168.63.129.16/32",
    "a link-local or metadata address": "169.254.0.0/16",
    "a link-local address": "fe80::/10",
    "a multicast address": "224.0.0.0/4 ff00::/8",
    "a 6to4 relay's address": "192.88.99.0/24",
    "a 6to4 address": "2002::/16",
    "a Teredo address": "2001::/32",
    "a NAT64 address": "64:ff9b::/96 64:ff9b:1::/48",
    "an IPv4-compatible address": "::/96",
    "an IPv4-mapped address": "::ffff:0:0/96",
    "an IPv4-translated address": "::ffff:0:0:0/96",
    "a reserved address": "192.0.0.0/24 192.0.2.0/24 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 "
    "240.0.0.0/4 2001::/23 2001:db8::/32 3fff::/20",
}
"""IANA's special-purpose address registries, read 2026-11, and Azure's metadata server; the first fits."""
_NETWORKS = [(ip_network(each), kind) for kind, networks in _REFUSED.items() for each in networks.split()]

_GLOBAL_UNICAST = IPv6Network("2000::/3")
_ISATAP = {0x00005EFE, 0x02005EFE}
"""The upper half of an interface identifier that carries an IPv4 address (RFC 5214)."""

_HOST = re.compile(r"(?!-)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")
_NUMBER = re.compile(r"0x[0-9a-f]*|[0-9]+")
_HERE = {"localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback"}
"""Names of whichever machine looks them up."""


def _why_not_public(address: Address) -> str | None:
    for network, kind in _NETWORKS:
        if address in network:
            return kind
    if isinstance(address, IPv4Address):
        return None
    if address not in _GLOBAL_UNICAST:
        return "a reserved address"
    if address.scope_id or (int(address) >> 32) & 0xFFFFFFFF in _ISATAP:
        return "an address of this network only"
    return None


def _read_host(host: str) -> str | Address:
    """Return a host as an address, else its name in lower case.

    Raises:
        ValueError: it is neither, or an address in a spelling that programs read differently.
    """
    plain = host.lower().removesuffix(".")
    try:
        return ip_address(plain)
    except ValueError:
        pass
    if not _HOST.fullmatch(plain):
        raise ValueError(f"{host!r} is not a host name")
    if _NUMBER.fullmatch(plain.rpartition(".")[2]):
        raise ValueError(f"{host!r} is an IPv4 address in an unusual form; write it as four decimal numbers")
    return plain


class RefusedError(ToolFailure):
    """A URL leads, or may lead, to where no tool may go."""


@dataclass(frozen=True, slots=True)
class Door:
    """A host and port on the allow-list, which need not be public."""

    host: str | Address
    port: int | None = None
    """None: each port."""

    @classmethod
    def read(cls, text: str) -> Self:
        """Read `host` or `host:port`, an IPv6 address in brackets.

        Raises:
            ValueError: it is neither.
        """
        try:
            url = httpx.URL(f"host://{text}")  # with http, a port 80 that was named would be dropped
        except httpx.InvalidURL as error:
            raise ValueError(f"{text!r} is not a host or host:port: {error}") from None
        if url.raw_path not in {b"", b"/"} or url.userinfo or url.fragment:
            raise ValueError(f"{text!r} is not a host or host:port, such as homeassistant.local:8123")
        return cls(_read_host(url.raw_host.decode()), _port(url.port))

    @classmethod
    def of(cls, url: httpx.URL) -> Self:
        """Return the host and port that a URL leads to.

        Raises:
            ValueError: it is not http or https, or its host or port is no proper one.
        """
        if url.scheme not in _DEFAULT_PORTS:
            raise ValueError(f"a URL must begin with https:// or http://, not {str(url)[:40]!r}")
        port = _DEFAULT_PORTS[url.scheme] if url.port is None else url.port
        return cls(_read_host(url.raw_host.decode()), _port(port))

    def admits(self, other: Self) -> bool:
        """Tell whether it opens the host and port of another."""
        return self.host == other.host and self.port in (None, other.port)


def read_url(text: str) -> httpx.URL:
    """Return an administrator's URL, whose host may be a private one.

    Raises:
        ValueError: it is not a plain http or https URL.
    """
    try:
        url = httpx.URL(text)
        Door.of(url)
    except (httpx.InvalidURL, ValueError) as error:
        raise ValueError(f"{text!r} is not an http or https URL: {error}") from None
    if url.userinfo:
        raise ValueError("a URL must not hold a user name or password; name variables that hold them")
    return url


def _port(port: int | None) -> int | None:
    if port is not None and not 1 <= port <= _MOST_PORTS:
        raise ValueError(f"there is no port {port}")
    return port


HostAndPort = Annotated[str, AfterValidator(lambda text: Door.read(text) and text)]
"""`host` or `host:port`, as a field of a card."""


class Network(Card):
    """The `[tools.network]` table."""

    allow_hosts: tuple[HostAndPort, ...] = ()
    """Hosts that tools may reach though they are not public: `host`, or `host:port` for one port."""


def read_network(settings: Settings) -> Network:
    """Return the `[tools.network]` table.

    Raises:
        ConfigurationError: it is not as it should be.
    """
    return settings.read_table(("tools", "network"), Network) or Network()


async def look_up(host: str, port: int) -> list[str]:
    """Return a host's addresses as the system knows them, best first.

    Raises:
        OSError: it has none.
    """
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(where[0]) for *_, where in found))


@dataclass(frozen=True, slots=True)
class Guard:
    """Decides where a request may go."""

    doors: frozenset[Door]
    """Hosts that are open whatever their addresses are."""
    public: bool = True
    """Whether public addresses are open too."""
    resolve: Resolve = look_up

    async def admit(self, url: httpx.URL) -> list[Address]:
        """Return the addresses that may be connected to, best first.

        Raises:
            RefusedError: it leads to where no tool may go.
            OSError: its host has no address.
        """
        wanted = door_of(url)
        if url.userinfo:
            raise RefusedError("Not opened: a URL must not hold a user name or password.")
        is_open = any(door.admits(wanted) for door in self.doors)
        if not is_open and not self.public:
            raise RefusedError(f"{url.netloc.decode()} is not a host that was configured for this.")
        if isinstance(wanted.host, str):
            if not is_open and (wanted.host in _HERE or wanted.host.endswith(".localhost")):
                raise _closed(url, "names this machine")
            addresses = [ip_address(each) for each in await self.resolve(wanted.host, wanted.port or 0)]
        else:
            addresses = [wanted.host]
        for address in () if is_open else addresses:
            if kind := _why_not_public(address):
                raise _closed(url, f"leads to {kind}")
        return addresses


def door_of(url: httpx.URL | str) -> Door:
    """Return the host and port that a URL leads to.

    Raises:
        RefusedError: it is no http or https URL.
    """
    try:
        return Door.of(httpx.URL(url))
    except (httpx.InvalidURL, ValueError) as error:
        raise RefusedError(f"Not opened: {str(error)[:200]}.") from None


def _closed(url: httpx.URL, why: str) -> RefusedError:
    return RefusedError(
        f"{url.host} {why}, which is closed to tools. An administrator can open single hosts "
        "with allow_hosts in [tools.network]."
    )


class GuardedTransport(httpx.AsyncBaseTransport):
    """Sends each request to an address admitted for it.

    `inner` connects; None: over the network. `options` are for httpx.AsyncHTTPTransport, such as `verify`.
    """

    def __init__(self, guard: Guard, inner: httpx.AsyncBaseTransport | None = None, **options: Any) -> None:
        self._guard = guard
        # Pooled by address, an idle connection could serve another name than its certificate was for.
        one_request_each = httpx.Limits(max_keepalive_connections=0)
        self._inner = inner or httpx.AsyncHTTPTransport(limits=one_request_each, **options)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send it to the first admitted address that takes a connection."""
        refused: httpx.TransportError = httpx.ConnectError("the host has no address", request=request)
        for address in await self._admit(request):
            try:
                return await self._inner.handle_async_request(_pinned(request, address))
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                refused = error
        raise refused

    async def _admit(self, request: httpx.Request) -> list[Address]:
        seconds = request.extensions.get("timeout", {}).get("connect")
        try:
            async with asyncio.timeout(seconds):
                return await self._guard.admit(request.url)
        except TimeoutError:
            raise httpx.ConnectTimeout("looking up the host took too long", request=request) from None
        except (OSError, UnicodeError) as error:
            raise httpx.ConnectError(f"the host has no address: {error}", request=request) from None

    async def aclose(self) -> None:
        """Close all connections."""
        await self._inner.aclose()


def _pinned(request: httpx.Request, address: Address) -> httpx.Request:
    # The Host header and the name for TLS stay the URL's.
    return httpx.Request(
        request.method,
        request.url.copy_with(host=str(address)),
        headers=request.headers,
        stream=request.stream,
        extensions={**request.extensions, "sni_hostname": request.url.raw_host.decode()},
    )


def open_client(
    settings: Settings,
    *,
    only: Iterable[str] | None = None,
    resolve: Resolve = look_up,
    verify: ssl.SSLContext | bool = True,
    **options: Any,
) -> httpx.AsyncClient:
    """Return a client that goes where tools may, by no proxy.

    It follows no redirect unasked.

    Args:
        settings: its `[tools.network]` table opens single hosts.
        only: `host` or `host:port` that an administrator configured: all that the client reaches,
            public or not. None: what is public, and what `[tools.network]` opens.
        resolve: looks up names.
        verify: as httpx has it.
        options: for httpx.AsyncClient, such as `headers` and `timeout`.

    Raises:
        ConfigurationError: the `[tools.network]` table is not as it should be.
    """
    opened = read_network(settings).allow_hosts if only is None else only
    guard = Guard(frozenset(map(Door.read, opened)), public=only is None, resolve=resolve)
    options = {"timeout": _PATIENCE, **options}
    options["headers"] = {"User-Agent": _AGENT, **(options.get("headers") or {})}
    # trust_env would send requests by a proxy, which looks names up again, and add passwords of .netrc.
    return httpx.AsyncClient(transport=GuardedTransport(guard, verify=verify), trust_env=False, **options)
