"""Matrix: direct rooms, by its client-server API through matrix-nio."""

import asyncio
import logging
import sys
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import replace
from http import HTTPStatus
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote, urlsplit
from uuid import uuid4

from pydantic import Field

from base.errors import ConfigurationError
from base.settings import Card, Settings, UserCard
from base.texts import visible
from channels.matrix_events import content_of, edit_of, is_message, length, part, read
from channels.messenger import (
    AwayError,
    Button,
    ChatGoneError,
    File,
    Incoming,
    MessengerError,
    SlowDownError,
)
from graphs.attachments import Attachment
from graphs.shadowing import CHECKOUT
from schedules.destinations import TOKENS

if TYPE_CHECKING:
    from nio import (  # type: ignore[import-untyped]
        AsyncClient,
        ErrorResponse,
        MatrixRoom,
        SyncResponse,
        Timeline,
    )

_LONGEST_TEXT = 24_000
"""Bytes of a text; an edit holds it twice, and an event 65,536 (spec.matrix.org, Size limits)."""
_PAUSE_S = 5.0
"""What Synapse allows in the long run unless it is told otherwise (rc_message)."""
_POLL_MS = 25_000
"""Milliseconds for which the homeserver holds a request until something comes."""
_TYPING_MS = 6_000
_PATIENCE_S = 15.0
_LIMITED_S = 5.0
"""Seconds to wait where a homeserver asks for patience, and does not say how much."""
_PAGE_EVENTS = 100
_NAME = "matrix"
_NOTHING: Mapping[str, Any] = {"types": []}
_ROOM_FILTER = {"timeline": {"limit": _PAGE_EVENTS}, "ephemeral": _NOTHING, "account_data": _NOTHING}
_FILTER = {"presence": _NOTHING, "account_data": _NOTHING, "room": _ROOM_FILTER}
_TOKEN_REFUSED = ("M_UNKNOWN_TOKEN", "M_MISSING_TOKEN", "M_USER_DEACTIVATED", "M_USER_LOCKED")
OTHERS = (
    "Others are in this room or could read along, so I answer nothing here. Talk to me in a direct room, in "
    "which nobody else is."
)
ENCRYPTED = (
    "This room is encrypted, and I cannot read what is encrypted, so I answer nothing here. Talk to me in a "
    "direct room that is not encrypted."
)

_log = logging.getLogger(__name__)


class MatrixCard(Card):
    """The `[channels.matrix]` table."""

    homeserver: str = Field(pattern=r"^https?://[^/]+/?$")
    """Where its client-server API is, such as https://matrix.example.org."""
    user: str = Field(pattern=r"^@[^:\s]+:\S+$")
    """The account that people talk to, such as @twobrain:example.org; it is this program's alone."""
    token_env: str = TOKENS[_NAME]
    """Name of the environment variable that holds the account's access token."""


def matrix_card(settings: Settings) -> MatrixCard | None:
    """Return Matrix's table; None: it is not used.

    Raises:
        ConfigurationError: it is not as expected.
    """
    return settings.read_table(("channels", _NAME), MatrixCard)


def open_matrix(settings: Settings) -> "Matrix | None":
    """Return Matrix, not connected yet; None: it is not configured.

    Raises:
        ConfigurationError: its table is not as expected, its token is not set, or its library is missing.
    """
    card = matrix_card(settings)
    if card is None:
        return None
    if not find_spec("nio"):
        raise ConfigurationError(
            f"Matrix needs an extra. In {CHECKOUT}: {sys.executable} -m pip install -c constraints.txt "
            "-e '.[channels]'"
        )
    token = settings.secret(card.token_env)
    if token is None:
        raise ConfigurationError(
            f"Matrix has no token: set the variable {card.token_env} to an access token of {card.user}."
        )
    return Matrix(card, token, settings)


class Matrix:
    """Matrix as a messenger; see `channels.messenger.Messenger`."""

    name = _NAME
    remembers = False
    deduplicates = True
    longest = _LONGEST_TEXT
    pause_s = _PAUSE_S

    def __init__(self, card: MatrixCard, token: str, settings: Settings) -> None:
        self._card = card
        self._token = token
        self._settings = settings
        self._connecting = asyncio.Lock()
        self._start = ""
        """The cursor after which nothing has been read; empty: the rooms are not known yet."""

    async def __aenter__(self) -> Self:
        """Make ready; nothing is asked of the homeserver yet."""
        self._client = await asyncio.to_thread(self._open)
        return self

    def _open(self) -> "AsyncClient":
        from nio import AsyncClient, AsyncClientConfig

        logging.getLogger("nio").setLevel(logging.CRITICAL)  # it logs what it cannot read, word for word
        config = AsyncClientConfig(max_limit_exceeded=0, max_timeouts=0, request_timeout=_PATIENCE_S)
        client = AsyncClient(self._card.homeserver.rstrip("/"), self._card.user, config=config)
        client.access_token = self._token
        return client

    async def __aexit__(self, *_: object) -> None:
        """Close the connections."""
        await self._client.close()

    async def own_name(self) -> str:
        """Return its id."""
        await self._connected()
        return self._card.user

    async def unusable(self) -> str:
        """Return which rooms are encrypted."""
        rooms = (await self._connected()).rooms
        encrypted = ", ".join(sorted(visible(name) for name, room in rooms.items() if room.encrypted))
        return f"encrypted, so that nothing in them can be read: {encrypted}" if encrypted else ""

    def length(self, text: str) -> int:
        """Return a text's bytes in an event."""
        return length(text)

    def address(self, card: UserCard) -> str | None:
        """Return a user's id on Matrix."""
        return card.matrix

    async def private_chat(self, address: str, near: str | None) -> str | None:
        """Return a direct room with somebody."""
        client = await self._connected()
        rooms = [room for room in sorted(client.rooms) if self._companion(room) == address]
        return near if near in rooms else next(iter(rooms), None)

    def serves(self, incoming: Incoming) -> bool:
        """Tell whether a message is from a readable direct room."""
        return incoming.is_private

    async def receive(self, cursor: str | None) -> tuple[Sequence[Incoming], str]:
        """Wait for events; accept invitations of people who are configured.

        The first time nothing is read: what was written before is not for us.
        """
        await self._connected()
        if cursor is None:
            return [], self._start
        found = await self._answer_invitations()
        synced = await self._sync(cursor, 1 if found else _POLL_MS)
        for room, joined in synced.rooms.join.items():
            events = await self._events(room, joined.timeline, cursor)
            found += [each for event in events if (each := self._incoming(room, event))]
        return found, synced.next_batch

    async def send(
        self,
        chat: str,
        text: str,
        buttons: Sequence[Sequence[Button]] = (),
        *,
        reply_to: str | None = None,
        key: str = "",
    ) -> str:
        """Send a text; its key is the transaction's id."""
        client = await self._writable(chat, text)
        content = content_of(text, buttons)
        if reply_to:
            content["m.relates_to"] = {"m.in_reply_to": {"event_id": reply_to}}
        sent = await _answered(client.room_send(chat, "m.room.message", content, tx_id=key or None))
        return str(sent.event_id)

    async def edit(
        self, chat: str, message: str, text: str, buttons: Sequence[Sequence[Button]] = ()
    ) -> None:
        """Put another text in a message's place."""
        client = await self._writable(chat, text)
        await _answered(client.room_send(chat, "m.room.message", edit_of(message, text, buttons)))

    async def show_typing(self, chat: str) -> None:
        """Show for six seconds that an answer is being written."""
        client = await self._writable(chat, "")
        await _answered(client.room_typing(chat, typing_state=True, timeout=_TYPING_MS))

    async def acknowledge(self, incoming: Incoming, text: str) -> None:
        """Say why a reaction decides nothing."""
        if text:
            await self.send(incoming.chat, text, reply_to=incoming.message, key=f"reaction {incoming.id}")

    async def fetch(self, file: File) -> Attachment:
        """Return a file's content, up to an attachment's limit."""
        client = await self._connected()
        most = self._settings.limits.max_attachment_mb * 1_000_000
        place = urlsplit(file.id)
        path = f"/_matrix/client/v1/media/download/{quote(place.netloc)}/{quote(place.path.strip('/'))}"
        bearer = {"Authorization": f"Bearer {self._token}"}
        response = await _answered(client.send("GET", path, headers=bearer))
        data = bytearray()
        async with response:
            if not response.ok:
                raise MessengerError(f"the homeserver does not give it ({response.status}).")
            async for chunk in response.content.iter_any():
                data += chunk
                if len(data) > most:
                    raise MessengerError(f"it has more than {most / 1_000_000:g} MB.")
        return Attachment(file.name, bytes(data), file.type)

    async def _connected(self) -> "AsyncClient":
        """Return the client once it knows the rooms it is in."""
        async with self._connecting:
            if not self._start:
                known = await _answered(self._client.whoami())
                if known.user_id != self._card.user:
                    raise AwayError(
                        f"the token in {self._card.token_env} is {known.user_id}'s, not {self._card.user}'s."
                    )
                rooms = _answered(self._client.sync(_POLL_MS, _first_filter()))
                self._start = (await rooms).next_batch
        return self._client

    async def _sync(self, since: str, wait_ms: int) -> "SyncResponse":
        synced: SyncResponse = await _answered(self._client.sync(wait_ms, _FILTER, since))
        for room in synced.rooms.leave:
            self._client.rooms.pop(room, None)
            self._client.invited_rooms.pop(room, None)
        return synced

    async def _writable(self, chat: str, text: str) -> "AsyncClient":
        client = await self._connected()
        if self._companion(chat) is None and text not in {OTHERS, ENCRYPTED}:
            raise ChatGoneError(f"{chat} is no direct room in which nobody else can read along.")
        return client

    def _companion(self, chat: str) -> str | None:
        """Return who alone shares a readable room; None: nobody, or several."""
        room = self._client.rooms.get(chat)
        if room is None or room.encrypted or not _is_closed(room):
            return None
        others = room.users.keys() - {self._card.user}
        return others.pop() if len(others) == 1 and not room.invited_users else None

    async def _answer_invitations(self) -> list[Incoming]:
        """Accept configured people's invitations; return the others, which are refused."""
        if not self._client.invited_rooms:
            return []
        people = {card.matrix for card in (await asyncio.to_thread(self._settings.read_users)).cards.values()}
        refused = []
        for chat, room in list(self._client.invited_rooms.items()):
            inviter = room.inviter or ""
            is_known = inviter in people
            if not is_known:
                refused.append(Incoming(id=f"{chat} invitation", chat=chat, sender=inviter, is_private=False))
            try:
                await _answered(self._client.join(chat) if is_known else self._client.room_leave(chat))
            except (SlowDownError, AwayError):
                raise
            except MessengerError as error:
                _log.warning("an invitation to %s could not be answered: %s", chat, error)
            self._client.invited_rooms.pop(chat, None)
        return refused

    async def _events(self, chat: str, timeline: "Timeline", cursor: str) -> list[dict[str, Any]]:
        """Return a room's events since a cursor or our invitation, in order."""
        events = [event.source for event in timeline.events]
        own = [number for number, event in enumerate(events) if self._invites_us(event)]
        if own:
            return events[own[-1] :]
        if timeline.limited and self._companion(chat):
            events = [*await self._earlier(chat, timeline.prev_batch, cursor), *events]
        return events

    def _invites_us(self, event: Mapping[str, Any]) -> bool:
        return (
            event.get("type") == "m.room.member"
            and event.get("state_key") == self._card.user
            and (part(event, "content").get("membership") == "invite")
        )

    async def _earlier(self, chat: str, start: str | None, cursor: str) -> list[dict[str, Any]]:
        """Return what a homeserver left out because it was much."""
        found: list[dict[str, Any]] = []
        while start:
            page = await _answered(self._client.room_messages(chat, start, cursor, limit=_PAGE_EVENTS))
            found += [event.source for event in page.chunk]
            start = page.end if page.chunk else None
        return found[::-1]

    def _incoming(self, chat: str, event: Mapping[str, Any]) -> Incoming | None:
        """Return what an event brings; None: nothing that is acted on."""
        sender, name = event.get("sender"), event.get("event_id")
        if sender == self._card.user or not (isinstance(sender, str) and isinstance(name, str)):
            return None
        came = Incoming(f"{chat} {name}", chat, sender, is_private=self._companion(chat) == sender)
        if came.is_private:
            return read(event, came)
        if not is_message(event):
            return None
        return replace(came, notice=ENCRYPTED if self._client.rooms[chat].encrypted else OTHERS)


def _first_filter() -> dict[str, Any]:
    """Return a filter by which to learn the rooms: another each time.

    For two minutes Synapse gives the same answer to the same question (sync_response_cache_duration).
    """
    return {**_FILTER, "room": {**_ROOM_FILTER, "timeline": {"limit": 1, "not_types": [f"none.{uuid4()}"]}}}


def _is_closed(room: "MatrixRoom") -> bool:
    """Tell whether only members read a room, and join by invitation."""
    return room.join_rule in {"invite", "knock"} and room.history_visibility != "world_readable"


async def _answered(request: Awaitable[Any]) -> Any:
    """Return what the homeserver answers; raise its refusals as ours."""
    from aiohttp import ClientError
    from nio import ErrorResponse

    try:
        response = await request
    except (ClientError, OSError) as error:  # TimeoutError is one
        raise AwayError(f"The homeserver cannot be reached ({type(error).__name__}).") from error
    if isinstance(response, ErrorResponse):
        raise _refusal(response)
    return response


def _refusal(response: "ErrorResponse") -> MessengerError:
    """Return what an answer means that is none."""
    transport, code = response.transport_response, response.status_code or ""
    status = transport.status if transport else 0
    if status == HTTPStatus.TOO_MANY_REQUESTS or code == "M_LIMIT_EXCEEDED":
        wait_s = response.retry_after_ms / 1_000 if response.retry_after_ms else _LIMITED_S
        return SlowDownError("The homeserver asks for patience.", wait_s)
    if code in _TOKEN_REFUSED or status == HTTPStatus.UNAUTHORIZED:
        return AwayError("The homeserver refuses the access token: was it revoked?")
    if code in {"M_FORBIDDEN", "M_NOT_FOUND"}:
        return ChatGoneError(f"The homeserver says: {response.message}")
    if not code or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return AwayError(f"The homeserver cannot answer just now ({status}).")
    return MessengerError(f"The homeserver refuses: {code} {response.message}")
