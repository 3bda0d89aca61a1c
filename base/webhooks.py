"""Webhooks: addresses called when a run ends, where allowed by name."""

import re
from collections.abc import Iterable
from ipaddress import ip_address
from typing import Annotated, NamedTuple

from pydantic import AfterValidator

_ADDRESS = re.compile(
    r"(?P<scheme>https?)://(?P<host>[a-z0-9.-]+|\[[0-9a-f:.]+\])(?::(?P<port>\d{1,5}))?"
    r"(?P<path>/[!-~]*)?",
    re.ASCII | re.IGNORECASE,
)
_DETOURS = re.compile(r"(^|/)(\.|%2e){1,2}(/|$)|%2f|%5c|[\\#]", re.IGNORECASE)
"""By which a path leaves the place that it names, for one who reads it otherwise."""
_LONGEST_URL = 2_000


class _Place(NamedTuple):
    origin: tuple[str, str, int]
    path: str


def _place_of(address: str) -> _Place | None:
    """Return an address in parts; None: programs read it differently."""
    found = _ADDRESS.fullmatch(address) if len(address) <= _LONGEST_URL else None
    path, _, _ = (found["path"] or "/").partition("?") if found else ("", "", "")
    if found is None or _DETOURS.search(path) or "#" in address:
        return None
    scheme, host = found["scheme"].lower(), found["host"].lower().strip("[]")
    return _Place((scheme, host, int(found["port"] or (443 if scheme == "https" else 80))), path)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _checked(address: str) -> str:
    place = _place_of(address)
    if place is None or "?" in address:
        raise ValueError(f"{address!r} is no address such as https://hooks.example.com/done/")
    if place.origin[0] != "https" and not _is_loopback(place.origin[1]):
        raise ValueError(f"{address!r} is not encrypted: use https, or a server on this machine")
    return address


Webhook = Annotated[str, AfterValidator(_checked)]


def is_allowed(address: object, allowed: Iterable[Webhook]) -> bool:
    """Tell whether an address is allowed, or lies below one."""
    asked = _place_of(address) if isinstance(address, str) else None
    return asked is not None and any(
        (
            asked.origin == place.origin
            and f"{asked.path.rstrip('/')}/".startswith(f"{place.path.rstrip('/')}/")
        )
        for place in filter(None, map(_place_of, allowed))
    )


def hosts_of(allowed: Iterable[Webhook]) -> list[str]:
    """Return the hosts of the addresses."""
    return sorted({place.origin[1] for place in filter(None, map(_place_of, allowed))})
