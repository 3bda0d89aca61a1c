"""Public addresses, the only hosts that an untrusted URL may name."""

import re
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address

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

_NAME = re.compile(r"(?!-)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")
_NUMBER = re.compile(r"0x[0-9a-f]*|[0-9]+")
_HERE = {"localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback"}


def why_not_public(address: Address) -> str | None:
    """Say what kind of address it is; None: a public one."""
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


def read_host(host: str) -> str | Address:
    """Return a URL's host as an address or name.

    A name is in lower case, without its final dot.

    Raises:
        ValueError: it is neither, or an address in a spelling that programs read differently.
    """
    plain = host.lower().removesuffix(".")
    try:
        return ip_address(plain)
    except ValueError:
        pass
    if not _NAME.fullmatch(plain):
        raise ValueError(f"{host!r} is not a host name")
    if _NUMBER.fullmatch(plain.rpartition(".")[2]):
        raise ValueError(f"{host!r} is an IPv4 address in an unusual form; write it as four decimal numbers")
    return plain


def names_this_machine(name: str) -> bool:
    """Tell whether a name means whichever machine looks it up."""
    return name in _HERE or name.endswith(".localhost")
