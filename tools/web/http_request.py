"""HTTP requests to one's own services, on allowed hosts only."""

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Annotated, Any, Literal, Self

from pydantic import model_validator

from base.settings import Card, Settings
from base.texts import visible
from tools.declaration import Here, Kind, OutcomeUnknown, ToolFailure, tool
from tools.web.download import CUT, DOUBTFUL, Downloaded, UnreachableError, request
from tools.web.guard import Door, HostAndPort, RefusedError, canonical_url, door_of, open_client
from tools.web.pages import decode, form_of

_SHOWN_PROBLEM = 2_000
"""Characters of what a server says when it refuses."""
_MAY_HAVE_HAPPENED = " It may have taken effect all the same."

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

    def variables(self, url: str) -> dict[str, str]:
        """Return the headers for a URL, each with its value's variable.

        Raises:
            RefusedError: no host of allow_hosts opens it.
        """
        wanted = door_of(url.strip())
        opening = [each for each in self.allow_hosts if Door.read(each).admits(wanted)]
        if not opening:
            known = ", ".join(self.allow_hosts) or "none"
            raise RefusedError(f"{wanted.host}:{wanted.port} is not open to this tool. Open are: {known}.")
        headers = (self.headers_env.get(each, {}) for each in opening)
        return {header: variable for each in headers for header, variable in each.items()}


def _read(settings: Settings) -> HttpRequest:
    return settings.read_table(("tools", "http_request"), HttpRequest) or HttpRequest(allow_hosts=())


def _lacks(settings: Settings) -> str | None:
    card = _read(settings)
    if not card.allow_hosts:
        return "set [tools.http_request] allow_hosts in twobrain.toml"
    variables = (variable for headers in card.headers_env.values() for variable in headers.values())
    unset = next((variable for variable in variables if not settings.secret(variable)), None)
    return f"set the environment variable {unset}" if unset else None


@tool(effect="read", label="Ask a service", untrusted=True, outbound=True, missing=_lacks)
async def http_get(here: Here, url: Url) -> str:
    """Read a URL of home automation or another service that was opened for it, as it answers."""
    return _report(here, await _send(here, "GET", url))


def _preview(here: Here, method: str, url: str, body: str = "") -> str:
    variables = _read(here.settings).variables(url)
    headers = [f"with {header} from {variable}" for header, variable in variables.items()]
    return "\n".join([f"{method} {visible(url)}", *headers, *(["", body] if body else [])])


def _canonical(args: dict[str, Any]) -> dict[str, Any]:
    args = canonical_url(args)
    with suppress(ValueError, RecursionError):
        args["body"] = json.loads(args["body"])
    return args


@tool(
    effect="send",
    label="Call a service",
    untrusted=True,
    preview=_preview,
    missing=_lacks,
    canonical=_canonical,
    kind=Kind("Sending {body} to {url} by {method}", dict.fromkeys(("method", "url", "body"), "same")),
)
async def http_request(
    here: Here,
    method: Annotated[Literal["POST", "PUT", "PATCH", "DELETE"], "as the service's documentation asks"],
    url: Url,
    body: Annotated[str, 'usually JSON, such as {"entity_id": "light.kitchen"}'] = "",
) -> str:
    """Send a request to home automation or another service that was opened for it. http_get reads."""
    answer = None
    try:
        answer = await _send(here, method, url, body)
        return _report(here, answer)
    except (UnreachableError, RefusedError):
        raise
    except ToolFailure as failure:
        if answer and answer.status not in DOUBTFUL:
            raise
        raise OutcomeUnknown(f"{failure}{_MAY_HAVE_HAPPENED}") from None


async def _send(here: Here, method: str, url: str, body: str = "") -> Downloaded:
    card = _read(here.settings)
    variables = card.variables(url)
    headers = {header: here.settings.secret(variable) or "" for header, variable in variables.items()}
    for header, value in headers.items():
        if header.lower() == "authorization" and " " not in value:
            headers[header] = f"Bearer {value}"
    if body:
        headers = {"Content-Type": _type_of(body), **headers}
    async with open_client(here.settings, only=card.allow_hosts) as client:
        return await request(client, method, url.strip(), headers=headers, content=body.encode() or None)


def _type_of(body: str) -> str:
    try:
        json.loads(body)
    except (ValueError, RecursionError):
        return "text/plain; charset=utf-8"
    return "application/json"


def _report(here: Here, answer: Downloaded) -> str:
    if form_of(answer) in {"binary", "pdf"}:
        text = f"({len(answer.body):,} bytes of {answer.kind[:80] or 'no declared type'})"
    else:
        text = decode(answer.body, answer.content_type)
    text = here.settings.redact(text)
    if not answer.ok:
        raise ToolFailure(f"{answer.url.host} answered {answer.verdict}. {text[:_SHOWN_PROBLEM]}".strip())
    return f"{answer.verdict}\n{text}{'' if answer.whole else CUT}".strip()


TOOLS = (http_get, http_request)
