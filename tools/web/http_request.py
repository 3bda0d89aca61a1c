"""HTTP requests to one's own services, on allowed hosts only."""

import json
from collections.abc import Mapping
from typing import Annotated, Literal, Self

import httpx
from pydantic import model_validator

from base.settings import Card, Settings
from tools.declaration import Here, ToolFailure, tool
from tools.web.download import CUT, Answer, UnreachableError, request
from tools.web.guard import Door, HostAndPort, RefusedError, open_client
from tools.web.pages import decode, form_of

_SHOWN_PROBLEM = 2_000
"""Characters of what a server says when it refuses."""
_DOUBT = " It may have taken effect all the same."

Url = Annotated[str, "such as http://homeassistant.local:8123/api/states/light.kitchen"]


class HttpRequest(Card):
    """The `[tools.http_request]` table."""

    allow_hosts: tuple[HostAndPort, ...]
    """The hosts that can be asked, private or not: `host:port`, or `host` for all its ports."""
    headers_env: Mapping[HostAndPort, Mapping[str, str]] = {}
    """For each of those hosts, header to the variable that holds its value. An `Authorization` of one
    word is sent as a bearer token."""

    @model_validator(mode="after")
    def _knows_its_hosts(self) -> Self:
        if strange := sorted(set(self.headers_env) - set(self.allow_hosts)):
            raise ValueError(f"headers_env names {strange[0]!r}, which is not in allow_hosts")
        return self

    def entries(self, url: str) -> list[str]:
        """Return the entries of allow_hosts that open a URL.

        Raises:
            RefusedError: there is none.
        """
        try:
            wanted = Door.of(httpx.URL(url.strip()))
        except (httpx.InvalidURL, ValueError) as error:
            raise RefusedError(f"Not opened: {str(error)[:200]}.") from None
        found = [entry for entry in self.allow_hosts if Door.read(entry).admits(wanted)]
        if not found:
            known = ", ".join(self.allow_hosts) or "none"
            raise RefusedError(f"{wanted.host}:{wanted.port} is not open to this tool. Open are: {known}.")
        return found

    def variables(self, url: str) -> dict[str, str]:
        """Return the headers for a URL, each with the variable of its value; RefusedError as for entries."""
        return {
            header: variable
            for entry in self.entries(url)
            for header, variable in self.headers_env.get(entry, {}).items()
        }

    @property
    def every_variable(self) -> list[str]:
        """The variables of all headers."""
        return [variable for headers in self.headers_env.values() for variable in headers.values()]


_NOTHING_OPEN = HttpRequest(allow_hosts=())


def _read(settings: Settings) -> HttpRequest | None:
    return settings.read_table(("tools", "http_request"), HttpRequest)


def _lacks(settings: Settings) -> str | None:
    card = _read(settings)
    if card is None or not card.allow_hosts:
        return "set [tools.http_request] allow_hosts in twobrain.toml"
    unset = [variable for variable in card.every_variable if not settings.secret(variable)]
    return f"set the environment variable {unset[0]}" if unset else None


@tool(effect="read", untrusted=True, outbound=True, missing=_lacks)
async def http_get(here: Here, url: Url) -> str:
    """Read a URL of home automation or another service that was opened for it, as it answers."""
    return _report(here, await _send(here, "GET", url))


def _preview(here: Here, method: str, url: str, body: str = "") -> str:
    variables = (_read(here.settings) or _NOTHING_OPEN).variables(url)
    headers = [f"with {header} from {variable}" for header, variable in variables.items()]
    return "\n".join([f"{method} {url}", *headers, *(["", body] if body else [])])


@tool(effect="send", untrusted=True, preview=_preview, missing=_lacks)
async def http_request(
    here: Here,
    method: Annotated[Literal["POST", "PUT", "PATCH", "DELETE"], "as the service's documentation asks"],
    url: Url,
    body: Annotated[str, 'usually JSON, such as {"entity_id": "light.kitchen"}'] = "",
) -> str:
    """Send a request to home automation or another service that was opened for it. http_get reads."""
    try:
        answer = await _send(here, method, url, body)
    except (UnreachableError, RefusedError):
        raise
    except ToolFailure as failure:
        raise ToolFailure(f"{failure}{_DOUBT}") from None
    return _report(here, answer)


async def _send(here: Here, method: str, url: str, body: str = "") -> Answer:
    card = _read(here.settings) or _NOTHING_OPEN
    variables = card.variables(url)
    headers = {header: _value(here.settings, header, variable) for header, variable in variables.items()}
    if body:
        headers = {"Content-Type": _type_of(body), **headers}
    async with open_client(here.settings, only=card.allow_hosts) as client:
        return await request(client, method, url.strip(), headers=headers, content=body.encode() or None)


def _value(settings: Settings, header: str, variable: str) -> str:
    value = settings.secret(variable) or ""
    return f"Bearer {value}" if header.lower() == "authorization" and " " not in value else value


def _type_of(body: str) -> str:
    try:
        json.loads(body)
    except (ValueError, RecursionError):
        return "text/plain; charset=utf-8"
    return "application/json"


def _report(here: Here, answer: Answer) -> str:
    text = here.settings.redact(_text(answer))
    if not answer.ok:
        raise ToolFailure(f"{answer.url.host} answered {answer.verdict}. {text[:_SHOWN_PROBLEM]}".strip())
    return f"{answer.verdict}\n{text}{'' if answer.whole else CUT}".strip()


def _text(answer: Answer) -> str:
    if form_of(answer) == "binary":
        return f"({len(answer.body):,} bytes of {answer.kind[:80] or 'no declared type'})"
    return decode(answer.body, answer.content_type)


TOOLS = (http_get, http_request)
