"""A CalDAV client (RFC 4791), as far as events need it.

Not the `caldav` package: its HTTP library puts itself in the place of urllib3 in the whole environment.
"""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any
from xml.etree import ElementTree as ET

import httpx

from base.worker_threads import in_thread
from tools.declaration import ToolFailure, Untrusted
from tools.web.download import DOUBTFUL

_TIMEOUT_S = 20
_LARGEST_ANSWER = 20_000_000
"""Bytes of an answer."""
_DAV, _CAL = "{DAV:}", "{urn:ietf:params:xml:ns:caldav}"
_PRINCIPAL = f".//{_DAV}current-user-principal/{_DAV}href"
_ADDRESSES = f".//{_CAL}calendar-user-address-set/{_DAV}href"
_IS_CALENDAR = f".//{_DAV}resourcetype/{_CAL}calendar"
_FIND = (
    '<d:propfind xmlns:d="DAV:" xmlns:c="urn:ietf:params:xml:ns:caldav"><d:prop><d:displayname/>'
    "<d:resourcetype/><d:current-user-principal/><c:calendar-home-set/>"
    "<c:calendar-user-address-set/></d:prop></d:propfind>"
)
_QUERY = (
    '<c:calendar-query xmlns:d="DAV:" xmlns:c="urn:ietf:params:xml:ns:caldav"><d:prop><c:calendar-data/>'
    '</d:prop><c:filter><c:comp-filter name="VCALENDAR"><c:comp-filter name="VEVENT">'
    '<c:time-range start="{:%Y%m%dT%H%M%SZ}" end="{:%Y%m%dT%H%M%SZ}"/>'
    "</c:comp-filter></c:comp-filter></c:filter></c:calendar-query>"
)
_GONE = {404, 410}
_REFUSALS = {
    401: "it refused the user or the password; some providers want an app password",
    403: "it does not allow that",
    404: "there is nothing at that address; check url in [tools.calendar]",
}


class NoAnswerError(ToolFailure):
    """Nobody knows whether the server did what it was sent."""


@dataclass(frozen=True, slots=True)
class Calendar:
    """One calendar of a server; each method raises ToolFailure in words."""

    client: httpx.AsyncClient
    url: httpx.URL

    async def between(self, start: datetime, end: datetime) -> list[str]:
        """Return what may happen in a time as iCalendar, series unexpanded."""
        query = _QUERY.format(start.astimezone(UTC), end.astimezone(UTC))
        found = await _asked(self.client, "REPORT", self.url, query, depth=1)
        return [data.text or "" for each in found for data in each.iter(f"{_CAL}calendar-data")]

    async def addresses(self) -> list[str]:
        """Return the mail addresses that the server knows of the person."""
        try:
            here = await _asked(self.client, "PROPFIND", self.url, _FIND, depth=0)
            place = next((each.findtext(_PRINCIPAL) for each in here), None) or ""
            person = await _asked(self.client, "PROPFIND", _joined(self.url, place), _FIND, depth=0)
        except ToolFailure:
            return []  # a server need not tell
        return [href.text or "" for each in person for href in each.iterfind(_ADDRESSES)]

    async def put(self, name: str, text: str) -> bool:
        """Store a new event; False where its name is taken."""
        headers = {"If-None-Match": "*", "Content-Type": "text/calendar; charset=utf-8"}
        answer, _ = await _sent(
            self.client, "PUT", self._place(name), text, headers, fine={200, 201, 204, 412}
        )
        return answer.status_code != httpx.codes.PRECONDITION_FAILED

    async def event(self, name: str) -> tuple[str, str] | None:
        """Return an event and its version (empty: untold); None: it is gone."""
        answer, data = await _sent(self.client, "GET", self._place(name), "", {}, fine={200, *_GONE})
        return None if answer.status_code in _GONE else (data.decode(), answer.headers.get("ETag", ""))

    async def delete(self, name: str, version: str) -> bool:
        """Delete an event; False where it is of another version."""
        headers = {"If-Match": version} if version else {}
        fine = {200, 204, 412, *_GONE}
        answer, _ = await _sent(self.client, "DELETE", self._place(name), "", headers, fine=fine)
        return answer.status_code != httpx.codes.PRECONDITION_FAILED

    def _place(self, name: str) -> httpx.URL:
        return self.url.copy_with(path=f"{self.url.path.rstrip('/')}/{name}.ics")


@asynccontextmanager
async def open_calendar(url: str, login: tuple[str, str] | None, name: str | None) -> AsyncIterator[Calendar]:
    """Find a calendar: at the URL itself, or else by name."""
    context = await in_thread(ssl.create_default_context)
    async with httpx.AsyncClient(
        auth=login, verify=context, timeout=_TIMEOUT_S, follow_redirects=True, trust_env=False
    ) as client:
        yield Calendar(client, await _found(client, httpx.URL(url), name))


async def _found(client: httpx.AsyncClient, url: httpx.URL, name: str | None) -> httpx.URL:
    for _ in range(3):  # at most the root, the person's principal, and their calendars' home
        for each in await _asked(client, "PROPFIND", url, _FIND, depth=0):
            if each.find(_IS_CALENDAR) is not None:
                return url
            further = each.findtext(f".//{_CAL}calendar-home-set/{_DAV}href")
            principal = each.findtext(_PRINCIPAL)
            break
        else:
            break
        if further:
            return await _named(client, _joined(url, further), name)
        if not principal or _joined(url, principal) == url:
            break
        url = _joined(url, principal)
    return await _named(client, url, name)


async def _named(client: httpx.AsyncClient, home: httpx.URL, name: str | None) -> httpx.URL:
    known: dict[str, httpx.URL] = {}
    for each in await _asked(client, "PROPFIND", home, _FIND, depth=1):
        if each.find(_IS_CALENDAR) is not None:
            place = _joined(home, each.findtext(f"{_DAV}href") or "")
            known[each.findtext(f".//{_DAV}displayname") or place.path.strip("/").rpartition("/")[2]] = place
    if name is None and len(known) == 1:
        return next(iter(known.values()))
    if name in known:
        return known[name]
    there = ", ".join(map(repr, sorted(known))) or "none"
    wanted = f"There is no calendar {name!r}." if name else "There is not exactly one calendar."
    names = Untrusted(f"{wanted} Set calendar in [tools.calendar] to one of those there are: {there}.")
    raise ToolFailure(names)


def _joined(url: httpx.URL, href: str) -> httpx.URL:
    place = url.join(href.strip())
    if url.scheme == "https" and place.scheme != "https":
        raise ToolFailure(f"The calendar server refers to {place.host} without encryption; not followed.")
    return place


async def _asked(
    client: httpx.AsyncClient, method: str, url: httpx.URL, body: str, depth: int
) -> list[ET.Element]:
    headers = {"Depth": str(depth), "Content-Type": "application/xml; charset=utf-8"}
    _, data = await _sent(client, method, url, body, headers, fine={207})
    try:
        # Of the person's own server; expat bounds expansion.
        parsed = await in_thread(partial(ET.fromstring, data))
        return parsed.findall(f"{_DAV}response")
    except ET.ParseError:
        raise ToolFailure("The calendar server's answer is not XML; check url in [tools.calendar].") from None


async def _sent(  # noqa: PLR0913, PLR0917 (an HTTP request)
    client: httpx.AsyncClient, method: str, url: httpx.URL, body: str, headers: Any, fine: set[int]
) -> tuple[httpx.Response, bytes]:
    try:
        async with client.stream(method, url, content=body.encode(), headers=headers) as answer:
            data = bytearray()
            async for chunk in answer.aiter_bytes():
                data += chunk
                if len(data) > _LARGEST_ANSWER:
                    raise ToolFailure("The calendar server's answer is too large; ask for a shorter time.")
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.InvalidURL) as error:
        raise ToolFailure(f"The calendar server {url.host} cannot be reached: {_words(error)}.") from None
    except httpx.HTTPError as error:
        raise NoAnswerError(f"The calendar server {url.host} gave no answer: {_words(error)}.") from None
    if answer.status_code in fine:
        return answer, bytes(data)
    why = _REFUSALS.get(answer.status_code, f"it answered {answer.status_code}")
    failure = NoAnswerError if answer.status_code in DOUBTFUL else ToolFailure
    raise failure(f"The calendar server {url.host} cannot be used: {why}.")


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__
