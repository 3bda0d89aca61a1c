"""A proxy before a homeserver, which kills its client in the middle of a request."""

import asyncio
import os
import signal
from collections import Counter
from dataclasses import dataclass
from http import HTTPStatus

import httpx
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.channels.loopback import Loopback

_METHODS = ["GET", "POST", "PUT"]
_PATIENCE_S = 60
_PLACES = {"/send/": "send", "/typing/": "typing", "/join/": "join", "/sync": "sync"}


@dataclass(frozen=True)
class Death:
    """When a client dies: at the n-th request to a place, which takes effect or does not."""

    place: str
    number: int
    takes_effect: bool

    def __str__(self) -> str:
        return f"{self.place}-{self.number}-{'after' if self.takes_effect else 'before'}"


class Middle(Loopback):
    """A homeserver at another address."""

    def __init__(self, homeserver: str) -> None:
        self._homeserver = homeserver
        super().__init__([Route("/{path:path}", self._forward, methods=_METHODS)])
        self._counts: Counter[str] = Counter()
        self.victim: int | None = None
        self.death: Death | None = None

    async def _forward(self, request: Request) -> Response:
        path = request.url.path
        place = next((name for part, name in _PLACES.items() if part in path), "")
        self._counts[place] += 1
        death = self.death
        is_due = death is not None and (death.place, death.number) == (place, self._counts[place])
        if is_due and not death.takes_effect:
            return self._kill()
        headers = {name: value for name, value in request.headers.items() if name != "host"}
        url = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        async with httpx.AsyncClient(verify=False, timeout=_PATIENCE_S) as client:
            try:
                answer = await client.request(
                    request.method, f"{self._homeserver}{url}", content=await request.body(), headers=headers
                )
            except asyncio.CancelledError:  # whoever asked is gone
                return Response(status_code=HTTPStatus.BAD_GATEWAY)
        if is_due:
            return self._kill()
        kind = {"content-type": answer.headers.get("content-type", "")}
        return Response(answer.content, answer.status_code, kind)

    def _kill(self) -> Response:
        assert self.victim
        self.death = None
        os.kill(self.victim, signal.SIGKILL)
        return Response(status_code=HTTPStatus.BAD_GATEWAY)
