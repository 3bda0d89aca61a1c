"""A server that speaks Telegram's Bot API on loopback, and refuses what Telegram refuses.

Checked against core.telegram.org/bots/api: lengths in UTF-16 units, texts trimmed, entities within them, 64
bytes of callback data, 429 with `retry_after`, one `getUpdates` at a time, updates until they are confirmed.
"""

import asyncio
import json
import os
import re
import signal
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.channels.loopback import Loopback

TOKEN = "4711:AAloopback-token-of-a-test"
WITHIN_S = 60


class CutError(Exception):
    """The connection ends without an answer."""


@dataclass(frozen=True)
class Death:
    """The moment at which the bot's process is killed: at its n-th request of a method."""

    method: str
    number: int
    takes_effect: bool

    @property
    def precedes_the_card(self) -> bool:
        return self.method in {"sendChatAction", "sendMessage"} and self.number == 1

    def __str__(self) -> str:
        return f"{'after' if self.takes_effect else 'before'}-{self.method}-{self.number}"


@dataclass
class Sent:
    """A message of the bot, as it stands in the chat."""

    chat: int
    id: int
    text: str
    entities: list[dict[str, Any]]
    buttons: list[tuple[str, str]]
    reply_to: int | None = None
    edits: int = 0
    at: float = field(default_factory=time.time)
    """When it came, in Unix seconds."""

    def data(self, label: str) -> str:
        return dict(self.buttons)[label]


@dataclass
class BotApi:
    """One bot. What happens in its chats is in `sent`; faults are set on its fields."""

    updates: list[dict[str, Any]] = field(default_factory=list)
    sent: list[Sent] = field(default_factory=list)
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    toasts: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    token: str = TOKEN
    blocked: set[int] = field(default_factory=set)
    cut_after: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    """By method: how many further requests take effect and are never answered."""
    slow_down: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    """By method: how many further requests are told to wait a second."""
    unauthorized: int = 0
    death: Death | None = None
    pid: int | None = None
    """Of the process that dies."""
    url: str = ""

    def __post_init__(self) -> None:
        self.changed = threading.Condition()
        self._ids = iter(range(100, 10**6))
        self._update_ids = iter(range(5_000, 10**6))
        self._queries: set[str] = set()
        self._polls = 0
        self._recent: dict[int, deque[float]] = defaultdict(deque)

    # What people do.

    def message(self, chat: int, text: str | None = None, sender: int | None = None, **more: Any) -> int:
        """Have somebody write to the bot; return the message's id."""
        ident = next(self._ids)
        kind = {"id": chat, "type": "private" if chat > 0 else "supergroup", "title": "g"}
        who = {"id": sender or chat, "is_bot": False, "first_name": "A"}
        said = {"message_id": ident, "date": 1_790_000_000, "chat": kind, "from": who, **more}
        self._update({"message": said if text is None else {**said, "text": text}})
        return ident

    def press(self, message: Sent, label: str = "", sender: int | None = None, data: str = "") -> None:
        query = str(next(self._ids))
        self._queries.add(query)
        who = {"id": sender or message.chat, "is_bot": False, "first_name": "A"}
        chat = {"id": message.chat, "type": "private" if message.chat > 0 else "supergroup"}
        about = {"message_id": message.id, "date": 1_790_000_000, "chat": chat, "text": message.text}
        given = data or message.data(label)
        pressed = {"id": query, "from": who, "message": about, "chat_instance": "1", "data": given}
        self._update({"callback_query": pressed})

    def edited(self, chat: int, ident: int, text: str) -> None:
        kind = {"id": chat, "type": "private"}
        who = {"id": chat, "is_bot": False, "first_name": "A"}
        said = {"message_id": ident, "date": 1, "edit_date": 2, "chat": kind, "from": who, "text": text}
        self._update({"edited_message": said})

    def _update(self, content: dict[str, Any]) -> None:
        with self.changed:
            self.updates.append({"update_id": next(self._update_ids), **content})
            self.changed.notify_all()

    # What tests look at.

    async def until(self, what: Callable[[], Any]) -> Any:
        """Wait until something is so in the chats, and return it."""

        def wait() -> Any:
            with self.changed:
                assert self.changed.wait_for(what, WITHIN_S), (self.texts(), self.refused)
                return what()

        return await asyncio.to_thread(wait)

    async def text(self, part: str, chat: int | None = None) -> Sent:
        """Wait for a message that holds a text."""
        return await self.until(lambda: self.find(part, chat))

    def find(self, part: str, chat: int | None = None) -> Sent | None:
        fitting = (each for each in reversed(self.sent) if part in each.text)
        return next((each for each in fitting if chat in {None, each.chat}), None)

    def texts(self, chat: int | None = None) -> list[str]:
        return [each.text for each in self.sent if chat in {None, each.chat}]

    async def taken(self) -> None:
        """Wait until all that people did was fetched and confirmed."""
        await self.until(lambda: not self.updates)

    # What the bot does.

    async def answer(self, request: Request) -> Response:
        method = request.path_params["method"]
        params = {name: _value(value) for name, value in parse_qsl((await request.body()).decode())}
        if request.path_params["token"] != self.token:
            with self.changed:
                self.unauthorized += 1
                self.changed.notify_all()
            return _error(401, "Unauthorized")
        try:
            if method == "getUpdates":
                return await self._get_updates(request, params)
            with self.changed:
                self.calls.append((method, params))
                if self.slow_down[method]:
                    self.slow_down[method] -= 1
                    return _error(429, "Too Many Requests: retry after 1", retry_after=1)
                is_deadly = self._is_deadly(method)
                if is_deadly and self.death and not self.death.takes_effect:
                    self._kill()
                result = getattr(self, re.sub("[A-Z]", lambda at: f"_{at[0].lower()}", f"_{method}"))(params)
                if is_deadly:
                    self._kill()
                self.changed.notify_all()
                if self.cut_after[method]:
                    self.cut_after[method] -= 1
                    raise CutError
        except _RefusedError as error:
            with self.changed:
                self.refused.append(f"{method}: {error}")
                self.changed.notify_all()
            return _error(error.status, str(error))
        return JSONResponse({"ok": True, "result": result})

    def _is_deadly(self, method: str) -> bool:
        number = sum(name == method for name, _ in self.calls)
        return self.death is not None and (method, number) == (self.death.method, self.death.number)

    def _kill(self) -> None:
        assert self.pid is not None
        os.kill(self.pid, signal.SIGKILL)
        self.death = None
        self.changed.notify_all()
        raise CutError

    async def download(self, request: Request) -> Response:
        return Response(self.files[request.path_params["path"]])

    async def _get_updates(self, request: Request, params: dict[str, Any]) -> Response:
        if self._polls:
            raise _RefusedError("Conflict: terminated by other getUpdates request", 409)
        self._polls += 1
        try:
            with self.changed:
                if offset := params.get("offset"):
                    self.updates = [each for each in self.updates if each["update_id"] >= offset]
                    self.changed.notify_all()
            deadline = asyncio.get_running_loop().time() + params.get("timeout", 0)
            while asyncio.get_running_loop().time() < deadline and not await request.is_disconnected():
                if found := self._allowed(params):
                    return JSONResponse({"ok": True, "result": found[: params.get("limit", 100)]})
                await asyncio.sleep(0.005)
        finally:
            self._polls -= 1
        return JSONResponse({"ok": True, "result": []})

    def _allowed(self, params: dict[str, Any]) -> list[dict[str, Any]]:
        kinds = params.get("allowed_updates")
        return [each for each in self.updates if not kinds or set(each) & set(kinds)]

    def _get_me(self, params: dict[str, Any]) -> dict[str, Any]:
        return {"id": 4711, "is_bot": True, "first_name": "Two", "username": "twobot"}

    def _send_chat_action(self, params: dict[str, Any]) -> bool:
        self._check_chat(params["chat_id"])
        return True

    def _send_message(self, params: dict[str, Any]) -> dict[str, Any]:
        chat = params["chat_id"]
        self._check_chat(chat)
        reply = params.get("reply_parameters") or {}
        text, entities, buttons = self._checked(params)
        sent = Sent(chat, next(self._ids), text, entities, buttons, reply.get("message_id"))
        self.sent.append(sent)
        return _told(sent)

    def _edit_message_text(self, params: dict[str, Any]) -> dict[str, Any]:
        self._check_chat(params["chat_id"])
        found = [
            each for each in self.sent if (each.chat, each.id) == (params["chat_id"], params["message_id"])
        ]
        if not found:
            raise _RefusedError("Bad Request: message to edit not found")
        text, entities, buttons = self._checked(params)
        if (text, buttons) == (found[0].text, found[0].buttons):
            raise _RefusedError(
                "Bad Request: message is not modified: specified new message content and reply markup are "
                "exactly the same as a current content and reply markup of the message"
            )
        found[0].text, found[0].entities, found[0].buttons = text, entities, buttons
        found[0].edits += 1
        return _told(found[0])

    def _answer_callback_query(self, params: dict[str, Any]) -> bool:
        if str(params["callback_query_id"]) not in self._queries:
            raise _RefusedError(
                "Bad Request: query is too old and response timeout expired or query ID is invalid"
            )
        self._queries.discard(str(params["callback_query_id"]))
        self.toasts.append(str(params.get("text", "")))
        return True

    def _get_file(self, params: dict[str, Any]) -> dict[str, Any]:
        file = params["file_id"]
        if file not in self.files:
            raise _RefusedError("Bad Request: invalid file_id")
        if len(self.files[file]) > 20_000_000:
            raise _RefusedError("Bad Request: file is too big")
        return {"file_id": file, "file_unique_id": file, "file_path": file}

    def _check_chat(self, chat: int) -> None:
        if chat in self.blocked:
            raise _RefusedError("Forbidden: bot was blocked by the user", 403)

    def _checked(self, params: dict[str, Any]) -> tuple[str, list[dict[str, Any]], list[tuple[str, str]]]:
        text = str(params.get("text", "")).strip()
        if not text:
            raise _RefusedError("Bad Request: message text is empty")
        if "parse_mode" in params:
            raise _RefusedError("a text of others was to be read as markup")
        if not (params.get("link_preview_options") or {}).get("is_disabled"):
            raise _RefusedError("links in the text would be loaded")
        units = len(text.encode("utf-16-le")) // 2
        if units > 4_096:
            raise _RefusedError("Bad Request: message is too long")
        entities = params.get("entities") or []
        if any(each["offset"] < 0 or each["offset"] + each["length"] > units for each in entities):
            raise _RefusedError("Bad Request: entity out of bounds")
        markup = params.get("reply_markup") or {}
        rows = markup.get("inline_keyboard", [])
        buttons = [(each["text"], each["callback_data"]) for row in rows for each in row]
        if any(not 1 <= len(data.encode()) <= 64 for _, data in buttons):
            raise _RefusedError("Bad Request: BUTTON_DATA_INVALID")
        return text, entities, buttons


class _RefusedError(Exception):
    def __init__(self, words: str, status: int = 400) -> None:
        super().__init__(words)
        self.status = status


def _value(text: str) -> Any:
    try:
        return json.loads(text) if text[:1] in "[{-0123456789tf" else text
    except ValueError:
        return text


def _told(sent: Sent) -> dict[str, Any]:
    chat = {"id": sent.chat, "type": "private" if sent.chat > 0 else "supergroup"}
    return {"message_id": sent.id, "date": 1_790_000_000, "chat": chat, "text": sent.text}


def _error(status: int, words: str, **parameters: Any) -> Response:
    body = {"ok": False, "error_code": status, "description": words}
    return JSONResponse({**body, "parameters": parameters} if parameters else body, status)


class BotHost:
    """The server; a context manager that answers on a free port of 127.0.0.1 while it is open."""

    def __init__(self) -> None:
        self._bots: dict[str, BotApi] = {}
        routes = [
            Route("/{bot}/bot{token}/{method}", self._answer, methods=["POST"]),
            Route("/{bot}/file/bot{token}/{path:path}", self._download),
        ]
        self._loopback = Loopback(routes)

    def open(self) -> BotApi:
        """Open one more bot."""
        name = str(len(self._bots))
        self._bots[name] = BotApi(url=f"{self._loopback.url}/{name}")
        return self._bots[name]

    async def _answer(self, request: Request) -> Response:
        return await self._bots[request.path_params["bot"]].answer(request)

    async def _download(self, request: Request) -> Response:
        return await self._bots[request.path_params["bot"]].download(request)

    def __enter__(self) -> Self:
        self._loopback.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._loopback.__exit__()
