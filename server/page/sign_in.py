"""Who uses the page, by cookie or by token."""

import math
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Annotated, Any
from urllib.parse import unquote

from fastapi import APIRouter, Depends, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from langgraph_sdk import Auth
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from base.errors import (
    ApproverError,
    BusyThreadError,
    ConfigurationError,
    NothingPendingError,
    RequestError,
    StorageError,
    TwobrainError,
    UnknownRuleError,
    UnknownThreadError,
)
from base.settings import LOCAL
from base.users import Role, Users
from nodes.resources import Resources
from server.auth import name_by_token, users_now
from server.page.sessions import LASTS_S, SignIns

COOKIE = "twobrain"
PLACE = "/app"
_API = f"{PLACE}/api/"
_LARGEST_BODY, _LARGEST_SIGN_IN = 32 * 1024 * 1024, 10_000
"""Bytes of a request's body."""
_JSON = "application/json"
_READS = {"GET", "HEAD"}
_SIGN_IN = "sign_in"
"""The one route for whoever is nobody yet."""
_ERROR_STATUS: tuple[tuple[type[TwobrainError], int], ...] = (
    (UnknownThreadError, 404),
    (UnknownRuleError, 404),
    (NothingPendingError, 409),
    (BusyThreadError, 409),
    (ApproverError, 403),
    (RequestError, 422),
    (ConfigurationError, 422),
    (StorageError, 503),
    (TwobrainError, 500),
)
"""The first that fits an error counts."""
_POLICY = "; ".join(
    [
        *("default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self' data: blob:"),
        *("connect-src 'self'", "manifest-src 'self'", "base-uri 'none'", "form-action 'none'"),
        *("frame-ancestors 'none'", "require-trusted-types-for 'script'", "trusted-types 'none'"),
    ]
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}


class PageError(Exception):
    """What is not done, with its status and reason."""

    def __init__(self, status: int, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.response = JSONResponse({"detail": detail}, status, headers)


@dataclass(frozen=True, slots=True)
class PageUser:
    """For whom a request of the page is answered."""

    user: str
    role: Role
    guarded: bool = False
    """False: nobody needs a token here, and whoever comes is `local`."""
    secret: str | None = None
    """What their cookie holds; None: they sent their token, or need none."""

    @property
    def is_admin(self) -> bool:
        """Whether they may see everybody's."""
        return self.role == "admin"


class PageHeaders:
    """Headers of what is under /app; ids in its paths stay whole."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        root = scope.get("root_path", "")
        path = scope.get("path", "").removeprefix(root)
        if scope["type"] != "http" or not (path == PLACE or path.startswith(f"{PLACE}/")):
            await self._app(scope, receive, send)
            return
        if path.startswith(_API) and (raw := scope.get("raw_path")):
            scope = {**scope, "path": raw.decode("latin-1")}  # a thread's id may hold a slash
        fresh = "no-store" if path.startswith(_API) else "no-cache"

        async def answered(message: Message) -> None:
            if message["type"] == "http.response.start":
                mine = {**_HEADERS, "cache-control": fresh}
                given = [pair for pair in message["headers"] if pair[0].decode("latin-1").lower() not in mine]
                added = [(name.encode(), value.encode()) for name, value in mine.items()]
                message = {**message, "headers": [*given, *added]}
            await send(message)

        await self._app(scope, receive, answered)


class PageRoute(APIRoute):
    """A route for known users and our own pages alone.

    That is looked at before the body is read. What goes wrong is told in one sentence.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler, behind the checks."""
        handle = super().get_route_handler()

        async def checked(request: Request) -> Response:
            try:
                _check_body(request, _LARGEST_SIGN_IN if self.name == _SIGN_IN else _LARGEST_BODY)
                if self.name == _SIGN_IN:
                    _check_origin(request)
                else:
                    request.state.user = await user_of(request)
                return await handle(request)
            except PageError as refusal:
                return refusal.response
            except RequestValidationError as error:
                return JSONResponse({"detail": _told(error)}, 422)
            except HTTPException as error:
                return JSONResponse({"detail": str(error.detail)}, error.status_code)
            except TwobrainError as error:
                status = next(status for kind, status in _ERROR_STATUS if isinstance(error, kind))
                return JSONResponse({"detail": str(error)}, status)

        return checked


async def user_of(request: Request) -> PageUser:
    """Return who sent a request, by their token, else by their cookie.

    Raises:
        PageError: 401, nobody that is known; 403, another website sent it.
    """
    users = await _users(request)
    tokens = {"authorization", "x-api-key"} & set(request.headers.keys())
    if users.guarded and tokens:
        name = _name_by_token(users, request.headers)
        return PageUser(name, users.cards[name].role, guarded=True)
    _check_origin(request)
    if not users.guarded:
        settings = _resources(request).settings
        return PageUser(LOCAL, settings.user(LOCAL).role)
    secret = request.cookies.get(COOKIE, "")
    session = await _sign_ins(request).find(secret) if secret else None
    if session is None or users.token_of(session["user"]) != session["token_sha256"]:
        raise PageError(401, "You are not signed in here, or not any more. Sign in with your token.")
    return PageUser(session["user"], users.cards[session["user"]].role, guarded=True, secret=secret)


def _user(request: Request) -> PageUser:
    found: PageUser = request.state.user
    return found


def _thread(request: Request) -> str:
    return unquote(request.path_params["thread"])


Who = Annotated[PageUser, Depends(_user)]
"""Who sent the request."""
ThreadId = Annotated[str, Depends(_thread)]
"""The thread that the path names."""

router = APIRouter(route_class=PageRoute)


class Credentials(BaseModel):
    """What somebody signs in with."""

    model_config = ConfigDict(extra="forbid")

    token: str = Field(min_length=1, max_length=1_000)


@router.post("/session", status_code=204)
async def sign_in(given: Credentials, request: Request) -> Response:
    """Sign somebody in by their token."""
    response, sign_ins, users = Response(status_code=204), _sign_ins(request), await _users(request)
    if not users.guarded:
        return response
    source = _source(request)
    wait, attempt = await sign_ins.attempt(source)
    if wait:
        minutes = math.ceil(wait / 60)
        raise PageError(
            429,
            f"Too many sign-ins failed from where you are. Try again in {minutes} min.",
            {"Retry-After": str(math.ceil(wait))},
        )
    bearer = b"Bearer " + given.token.strip().encode("utf-8", "surrogatepass")
    name = _name_by_token(users, {b"authorization": bearer})
    await sign_ins.succeed(attempt)
    if before := request.cookies.get(COOKIE):
        await sign_ins.end(before)
    secret = await sign_ins.begin(name, users.token_of(name) or "")
    _set_cookie(request, response, secret, int(LASTS_S))
    return response


@router.delete("/session", status_code=204)
async def sign_out(who: Who, request: Request) -> Response:
    """Sign out here."""
    response = Response(status_code=204)
    if who.secret:
        await _sign_ins(request).end(who.secret)
    _set_cookie(request, response, "", 0)
    return response


@router.delete("/sessions", status_code=204)
async def sign_out_everywhere(who: Who, request: Request) -> Response:
    """End all of a user's sessions."""
    response = Response(status_code=204)
    await _sign_ins(request).end_all(who.user)
    _set_cookie(request, response, "", 0)
    return response


def _set_cookie(request: Request, response: Response, secret: str, seconds: int) -> None:
    response.set_cookie(
        COOKIE,
        secret,
        max_age=seconds,
        path=request.scope.get("root_path", "") + PLACE,
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )


def _resources(request: Request) -> Resources:
    found: Resources = request.app.state.page.res
    return found


async def _users(request: Request) -> Users:
    try:
        return await users_now(_resources(request).settings)
    except Auth.exceptions.HTTPException as error:
        raise PageError(error.status_code, str(error.detail)) from None


def _name_by_token(users: Users, headers: Mapping[Any, Any]) -> str:
    try:
        return name_by_token(users, headers)
    except Auth.exceptions.HTTPException as error:
        raise PageError(error.status_code, str(error.detail)) from None


def _sign_ins(request: Request) -> SignIns:
    return SignIns(_resources(request).ledger)


def _source(request: Request) -> str:
    """Return from where a request comes: an address; of IPv6, its network."""
    host = request.client.host if request.client else ""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if not isinstance(address, IPv6Address):
        return str(address)
    return str(address.ipv4_mapped or ip_network((address, 64), strict=False))


def _check_origin(request: Request) -> None:
    """Check that no page of another origin sent a request.

    Another port of this machine is the same site: its pages send our cookie. A browser names the origin of
    whatever may change something; of what it does not, it says whether it came from elsewhere.
    """
    origin, host = request.headers.get("origin"), request.headers.get("host", "")
    scheme, _, place = (origin or "").lower().partition("://")
    is_own = scheme in {"http", "https"} and place == host.lower()
    came_from = request.headers.get("sec-fetch-site")
    if (origin is not None and not is_own) or came_from in {"cross-site", "same-site"}:
        raise PageError(403, "Another website's page sent this: only this server's own page may.")


def _check_body(request: Request, most: int) -> None:
    """Check form and size of a body, before it is read.

    Raises:
        PageError: 411, its length is not said; 413, it is too long; 415, it is no JSON.
    """
    if "transfer-encoding" in request.headers:
        raise PageError(411, "Say how long the body is, by Content-Length.")
    length = request.headers.get("content-length", "0")
    if not length.isascii() or not length.isdecimal() or int(length) > most:
        raise PageError(413, f"That is too much at once: at most {most:,} bytes are taken.")
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if request.method not in _READS and (int(length) or kind) and kind != _JSON:
        raise PageError(415, f"Send JSON, as `Content-Type: {_JSON}`.")


def _told(error: RequestValidationError) -> str:
    """Return in a sentence what is wrong with a request."""
    problem = error.errors()[0]
    place = ".".join(str(part) for part in problem["loc"][1:])
    return f"{place}: {problem['msg']}." if place else f"The request was not understood: {problem['msg']}."
