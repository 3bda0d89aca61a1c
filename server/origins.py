"""The check of each request's origin and host, before all else.

`server/app.py` puts it in front. Without it any website that a person has open could read threads and approve
calls: a browser asks nobody before it sends a simple request, and a name of the website's own may lead here.
"""

import asyncio
import logging
import os
import re
from functools import cache
from ipaddress import ip_address

from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from base.errors import TwobrainError
from base.settings import OWN_HOST, AccessCard, load_settings
from channels.hooks import PROOF_HEADERS

_STUDIO_ORIGINS = {f"https://{region}smith.langchain.com" for region in ("", "eu.", "apac.", "aws.")}
"""LangSmith's, in each region."""
_LOOPBACK = "localhost"
_HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([\w.-]+))(?::\d{1,5})?", re.ASCII | re.IGNORECASE)
_FORM_TYPES = ("text/plain", "multipart/form-data")
"""Types of a body that a page may send anywhere, and that no client of a LangGraph server sends."""
_LOGIN_HEADERS = ("authorization", "x-api-key")
"""By which a request says whose it is; of several, engines take different ones."""
_OPEN_PAGES = {"/", "/docs", "/ok", "/app"}
"""What a link on another website may lead to: it says nothing of anybody."""
_CLOSED_ROUTES = ("/internal/", "/deploy", "/profile")
"""Routes of LangGraph's development server that ask for no token: they empty it, or send its folder away."""
_READABLE_HEADERS = ["x-pagination-total", "x-pagination-next", "content-location"]

_log = logging.getLogger(__name__)


class OriginCheck:
    """Refuses what is not for this server, before it is read."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or answer with one sentence why not."""
        refusal = None
        if scope["type"] in {"http", "websocket"}:
            refusal = _refusal(scope, await asyncio.to_thread(_card))
        if refusal is None:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":  # answered with 403: no page could read more
            await send({"type": "websocket.close", "code": 1008, "reason": refusal[1]})
        else:
            await JSONResponse({"detail": refusal[1]}, refusal[0])(scope, receive, send)


def _refusal(scope: Scope, card: AccessCard) -> tuple[int, str] | None:
    """Return status and reason where a request is refused."""
    headers = Headers(scope=scope)
    hosts, origins = headers.getlist("host"), headers.getlist("origin")
    if len(hosts) != 1 or not _is_ours(hosts[0], scope, card):
        return 403, (
            f"This server is not known as {', '.join(hosts)!r}. Where you reach it so, name that under "
            "[server] hosts in twobrain.toml and start it anew."
        )
    if foreign := [origin for origin in origins if not _may_use(origin, hosts[0], card)]:
        return 403, (
            f"Pages of {foreign[0]!r} may not use this server. Where you trust them, name that under "
            "[server] origins in twobrain.toml and start it anew."
        )
    path = scope["path"].removeprefix(scope.get("root_path", ""))
    if not origins and headers.get("sec-fetch-site") == "cross-site" and not _is_link(scope, headers, path):
        return 403, "Another website sent this, and it may not use this server."
    if ill_formed := _ill_formed(headers, path):
        return ill_formed
    if path.startswith(_CLOSED_ROUTES):
        return 403, "This route of LangGraph's development server is closed here."
    return None


def _ill_formed(headers: Headers, path: str) -> tuple[int, str] | None:
    """Return status and reason where no client of ours sends such headers.

    Other programs send text to hooks, with a header that no page sends before it asks.
    """
    is_hook = path.startswith("/hooks/") and not PROOF_HEADERS.isdisjoint(headers.keys())
    if not is_hook and headers.get("content-type", "").strip().lower().startswith(_FORM_TYPES):
        return 415, "Send JSON, as `Content-Type: application/json`."
    if twice := [name for name in _LOGIN_HEADERS if len(headers.getlist(name)) > 1]:
        return 400, f"The header {twice[0]} was sent more than once, and which counts is unknown."
    return None


def _is_link(scope: Scope, headers: Headers, path: str) -> bool:
    """Tell whether a person followed a link to an open page."""
    opens = (headers.get("sec-fetch-mode"), headers.get("sec-fetch-dest")) == ("navigate", "document")
    return opens and scope.get("method") == "GET" and path in _OPEN_PAGES


def _is_ours(host: str, scope: Scope, card: AccessCard) -> bool:
    """Tell whether a Host header names this server.

    The address that a connection came to does, for no website's name can be one.
    """
    name = _name_in(host)
    named = {os.environ.get(OWN_HOST), *card.hosts, (scope.get("server") or ("",))[0]}
    return bool(name) and (_is_loopback(name) or name in {each.lower() for each in named if each})


def _may_use(origin: str, host: str, card: AccessCard) -> bool:
    """Tell whether the pages of an origin may use this server."""
    scheme, _, place = origin.lower().partition("://")
    if origin in {*_STUDIO_ORIGINS, *card.origins}:
        return True
    return scheme in {"http", "https"} and (place == host.lower() or _is_loopback(_name_in(place)))


def _name_in(host: str) -> str:
    """Return the name or address in `host[:port]`; empty where it is neither."""
    found = _HOST.fullmatch(host)
    return (found[1] or found[2]).lower() if found else ""


def _is_loopback(name: str) -> bool:
    try:
        return name == _LOOPBACK or ip_address(name).is_loopback
    except ValueError:
        return False


@cache
def _card() -> AccessCard:
    """Return the `[server]` table, read once; unreadable: nobody is named."""
    try:
        return load_settings().server
    except TwobrainError as error:
        _log.error("no website and no host is let in by name: %s", error)
        return AccessCard()


CORS = Middleware(
    CORSMiddleware,  # only those come to it that the check let through
    allow_origin_regex=".+",
    allow_methods=["*"],
    allow_headers=["*"],
    allow_private_network=True,
    expose_headers=_READABLE_HEADERS,
)
"""The headers by which a browser lets a page read an answer."""
