"""A server that speaks Matrix's client-server API for one account, on loopback.

Checked against spec.matrix.org and Synapse, with which the tests in `matrix/` run: a transaction's id makes
one event, a request without a cursor tells all rooms and invitations, a refused token is M_UNKNOWN_TOKEN.
"""

import asyncio
import itertools
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

BOT, ANNA, STRANGER = "@bot:example.org", "@anna:example.org", "@mallory:example.org"
ROOM = "!anna:example.org"
TOKEN = "syt_loopback_token_of_a_test"
WITHIN_S = 20
_HELD_S = 0.3
"""Seconds for which a request for what is new is held."""


@dataclass
class Homeserver:
    """One account. What is told to it is in `told`, what it sends in `sent`; faults are set on its fields."""

    told: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    sent: list[dict[str, Any]] = field(default_factory=list)
    invitations: dict[str, str] = field(default_factory=dict)
    joined: list[str] = field(default_factory=lambda: [ROOM])
    refused: list[str] = field(default_factory=list)
    members: list[str] = field(default_factory=lambda: [BOT, ANNA])
    token: str = TOKEN
    cut: int = 0
    """How many further messages take effect, and their sender never hears of it."""
    limit: int = 0
    """How many further messages are to wait for a moment."""
    encrypted: bool = False
    asked: int = 0
    """How often it was asked for what is new."""

    def __post_init__(self) -> None:
        self.changed = threading.Condition()
        self._ids = itertools.count(1)
        self._transactions: dict[str, str] = {}

    # What people do.

    def say(self, text: str, sender: str = ANNA, **content: Any) -> str:
        return self.happen("m.room.message", {"msgtype": "m.text", "body": text, **content}, sender)

    def react(self, event: str, key: str, sender: str = ANNA) -> str:
        relation = {"rel_type": "m.annotation", "event_id": event, "key": key}
        return self.happen("m.reaction", {"m.relates_to": relation}, sender)

    def happen(self, kind: str, content: dict[str, Any], sender: str = ANNA, **more: Any) -> str:
        event = {"type": kind, "content": content, "sender": sender, "origin_server_ts": 1, **more}
        event["event_id"] = f"${next(self._ids)}"
        with self.changed:
            self.told.append((ROOM, event))
            self.changed.notify_all()
        return event["event_id"]

    # What tests look at.

    async def until(self, what: Callable[[], Any]) -> Any:
        """Wait until something is so, and return it."""

        def wait() -> Any:
            with self.changed:
                assert self.changed.wait_for(what, WITHIN_S), self.texts()
                return what()

        return await asyncio.to_thread(wait)

    async def text(self, part: str) -> dict[str, Any]:
        """Wait for a message that holds a text; return its event as it stands."""
        return await self.until(lambda: next((each for each in self.sent if part in each["body"]), None))

    def texts(self) -> list[str]:
        return [each["body"] for each in self.sent]

    # What the account does.

    def routes(self) -> list[Route]:
        at = "/_matrix/client/v3"
        return [
            Route(f"{at}/account/whoami", self._whoami),
            Route(f"{at}/sync", self._sync),
            Route(f"{at}/join/{{room}}", self._join, methods=["POST"]),
            Route(f"{at}/rooms/{{room}}/leave", self._leave, methods=["POST"]),
            Route(f"{at}/rooms/{{room}}/typing/{{user}}", self._nothing, methods=["PUT"]),
            Route(f"{at}/rooms/{{room}}/send/{{kind}}/{{transaction}}", self._send, methods=["PUT"]),
        ]

    def _is_known(self, request: Request) -> bool:
        return request.headers.get("authorization") == f"Bearer {self.token}"

    async def _whoami(self, request: Request) -> Response:
        if not self._is_known(request):
            with self.changed:
                self.changed.notify_all()
            return _error("M_UNKNOWN_TOKEN", 401)
        return JSONResponse({"user_id": BOT, "device_id": "D", "is_guest": False})

    async def _sync(self, request: Request) -> Response:
        since = request.query_params.get("since")
        if not self._is_known(request):
            return _error("M_UNKNOWN_TOKEN", 401)
        with self.changed:
            self.asked += since is not None
            self.changed.notify_all()
        if since is not None:
            await asyncio.to_thread(self._wait, int(since))
        news = self.told[int(since) :] if since is not None else []
        joined = {ROOM: _room([], [event for _, event in news])} if news else {}
        if since is None:
            joined = {room: _room(self._state(), []) for room in self.joined}
        invited = {
            room: {"invite_state": {"events": [_member(BOT, "invite", sender)]}}
            for room, sender in self.invitations.items()
        }
        rooms = {"join": joined, "invite": invited, "leave": {}}
        told = {"next_batch": str(len(self.told)), "rooms": rooms}
        return JSONResponse({**told, "device_one_time_keys_count": {}})

    def _wait(self, seen: int) -> None:
        with self.changed:
            self.changed.wait_for(lambda: len(self.told) > seen or self.invitations, _HELD_S)

    def _state(self) -> list[dict[str, Any]]:
        found = [_member(user, "join", user) for user in self.members]
        algorithm = {"algorithm": "m.megolm.v1.aes-sha2"}
        return [*found, *([_state("m.room.encryption", algorithm)] if self.encrypted else [])]

    async def _join(self, request: Request) -> Response:
        room = request.path_params["room"]
        with self.changed:
            self.invitations.pop(room, None)
            self.joined.append(room)
            self.changed.notify_all()
        return JSONResponse({"room_id": room})

    async def _leave(self, request: Request) -> Response:
        with self.changed:
            self.invitations.pop(request.path_params["room"], None)
            self.refused.append(request.path_params["room"])
            self.changed.notify_all()
        return JSONResponse({})

    async def _nothing(self, request: Request) -> Response:
        return JSONResponse({})

    async def _send(self, request: Request) -> Response:
        if not self._is_known(request):
            return _error("M_UNKNOWN_TOKEN", 401)
        with self.changed:
            if self.limit:
                self.limit -= 1
                return _error("M_LIMIT_EXCEEDED", 429, retry_after_ms=100)
        event = self._taken(request.path_params["transaction"], await request.json())
        if self.cut:
            self.cut -= 1
            return Response("gone", 502)
        return JSONResponse({"event_id": event})

    def _taken(self, transaction: str, content: dict[str, Any]) -> str:
        """Make an event of a message, one of each transaction; an edit changes its message."""
        with self.changed:
            if transaction not in self._transactions:
                self._transactions[transaction] = f"$sent{next(self._ids)}"
                relation = content.get("m.relates_to", {})
                if relation.get("rel_type") == "m.replace":
                    [changed] = [each for each in self.sent if each["id"] == relation["event_id"]]
                    changed.update(content["m.new_content"], edits=changed.get("edits", 0) + 1)
                else:
                    self.sent.append({**content, "id": self._transactions[transaction]})
                self.changed.notify_all()
            return self._transactions[transaction]


def _room(state: list[dict[str, Any]], events: list[dict[str, Any]]) -> dict[str, Any]:
    timeline = {"events": events, "limited": False, "prev_batch": "0"}
    empty: dict[str, Any] = {"events": []}
    return {"state": {"events": state}, "timeline": timeline, "ephemeral": empty, "account_data": empty}


def _state(kind: str, content: dict[str, Any], key: str = "", sender: str = ANNA) -> dict[str, Any]:
    about = {"type": kind, "content": content, "state_key": key, "sender": sender}
    return {**about, "event_id": f"${kind}{key}", "origin_server_ts": 1}


def _member(user: str, membership: str, sender: str) -> dict[str, Any]:
    return _state("m.room.member", {"membership": membership}, user, sender)


def _error(code: str, status: int, **more: Any) -> Response:
    return JSONResponse({"errcode": code, "error": "refused by a test", **more}, status)
