"""The thread that a chat completion goes on with."""

import base64
import binascii
import hashlib
import json
import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from pydantic import BaseModel, ConfigDict, Field

from base.errors import BadMessageError
from channels.dialogue import code_in
from graphs.attachments import Attachment
from ledger.ledger import Ledger

MODEL_NAME = "twobrain"
"""By which chat programs ask for the assistant."""
_CHAT_HEADERS = ("x-openwebui-chat-id", "x-chat-id", "x-conversation-id", "x-session-id")
"""Headers by which clients name a chat; Open WebUI's first."""
_REPEAT_HEADERS = ("idempotency-key", "x-openwebui-message-id")
"""Headers that are the same where a request is sent again."""
_RETRY = "x-stainless-retry-count"
"""OpenAI's clients count in it."""
_DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+)?(?:;[^;,]*)*;base64,", re.IGNORECASE)


class Said(BaseModel):
    """A message of a chat completion."""

    model_config = ConfigDict(extra="ignore")

    role: str
    content: str | list[dict[str, Any]] | None = None

    @property
    def text(self) -> str:
        """Its words."""
        if isinstance(self.content, list):
            texts = (part.get("text") for part in self.content if part.get("type") == "text")
            return "\n".join(text for text in texts if isinstance(text, str))
        return self.content or ""


class StreamOptions(BaseModel):
    """What is asked of a stream."""

    model_config = ConfigDict(extra="ignore")

    include_usage: bool = False


class Completion(BaseModel):
    """A request for a chat completion, as far as it counts here."""

    model_config = ConfigDict(extra="ignore")

    model: str = Field(default=MODEL_NAME, min_length=1, max_length=300)
    messages: list[Said] = Field(min_length=1)
    stream: bool = False
    stream_options: StreamOptions | None = None
    n: int | None = None
    tool_choice: Any = None
    response_format: dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None

    @property
    def said(self) -> list[Said]:
        """What person and assistant said."""
        return [message for message in self.messages if message.role in {"user", "assistant"}]

    @property
    def persona(self) -> str:
        """What the client's system messages say."""
        rules = [m.text for m in self.messages if m.role in {"system", "developer"} and m.text.strip()]
        return "\n\n".join(rules)


@dataclass(frozen=True, slots=True)
class ChatTurn:
    """Where a completion's last message belongs."""

    thread: str
    message_id: str
    before: tuple[AnyMessage, ...]
    """What was said before, where no thread holds it."""
    is_again: bool
    """It may have been sent before, under the same name."""
    shown: str | None
    """The code of the question that the person saw last."""


class Chats:
    """Finds a completion's thread: by chat id, else by what was said."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def place(self, asked: Completion, user: str, headers: Mapping[str, str]) -> ChatTurn:
        """Return where the last message belongs.

        Raises:
            BadMessageError: it is not the person's.
        """
        said = asked.said
        if not said or said[-1].role != "user":
            raise BadMessageError("There is no message to answer: the last one must be the user's.")
        chat = _first(headers, _CHAT_HEADERS)
        earlier = said[:-1]
        answered = [each for each in earlier if each.role == "assistant"]
        name = _first(headers, _REPEAT_HEADERS)
        request = _key("request", chat, said, name)
        is_again = bool(name) or headers.get(_RETRY, "0") != "0"
        known = await self._ledger.chat(user, request)
        found = await self._by_history(user, chat, earlier) if earlier else None
        thread = (known if is_again else None) or found or str(uuid.uuid4())
        if name:  # of requests that come at once, all go where the first one does
            thread = await self._ledger.claim_chat(user, request, thread)
        repeats = known == thread and not is_again  # such as "regenerate"
        keys = [*([] if name else [request]), _key("asked", chat, _of_person(said))]
        await self._ledger.link_chat(user, keys, thread)
        named = f"{thread} {request}{uuid.uuid4() if repeats else ''}"
        return ChatTurn(
            thread,
            str(uuid.uuid5(uuid.NAMESPACE_OID, named)),
            tuple(_messages(earlier)) if found is None else (),
            is_again,
            code_in(answered[-1].text) if answered and said[-2].role == "assistant" else None,
        )

    async def note(
        self, asked: Completion, user: str, headers: Mapping[str, str], thread: str, answer: str
    ) -> None:
        """Note that what was said, with an answer, is a thread."""
        said = [*asked.said, Said(role="assistant", content=answer)]
        await self._ledger.link_chat(user, [_key("said", _first(headers, _CHAT_HEADERS), said)], thread)

    async def _by_history(self, user: str, chat: str, earlier: Sequence[Said]) -> str | None:
        """Return the thread that holds what was said; None: none does.

        Where the assistant's words come back changed or cut short, the person's decide.
        """
        for key in (_key("said", chat, earlier), _key("asked", chat, _of_person(earlier))):
            if thread := await self._ledger.chat(user, key):
                return thread
        return None


def attachments_of(message: Said) -> list[Attachment]:
    """Return the files of a message.

    Raises:
        BadMessageError: one is only pointed at, or is no base64.
    """
    parts = message.content if isinstance(message.content, list) else []
    return [file for part in parts if (file := _attachment(part)) is not None]


def _attachment(part: Mapping[str, Any]) -> Attachment | None:
    kind = part.get("type")
    if kind == "image_url":
        link = part.get("image_url")
        return _held(link.get("url") if isinstance(link, Mapping) else link, "picture")
    if kind == "input_audio":
        audio = _object(part.get("input_audio"))
        return _held(audio.get("data"), "sound", f"audio/{audio.get('format', 'wav')}")
    if kind == "file":
        file = _object(part.get("file"))
        return _held(file.get("file_data"), str(file.get("filename") or "file"))
    if kind in {"text", "refusal"}:
        return None
    raise BadMessageError(
        f"Content of type {str(kind)[:40]!r} is not understood. Send text, images, audio or files."
    )


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _held(data: Any, name: str, media: str = "") -> Attachment:
    if not isinstance(data, str) or re.match(r"(https?|file):", data):
        raise BadMessageError(
            "A file must come with the message, as data; nothing is fetched from elsewhere."
        )
    if found := _DATA_URL.match(data):
        media, data = found[1] or media, data[found.end() :]
    try:
        return Attachment(name, base64.b64decode(data, validate=True), media)
    except binascii.Error:
        raise BadMessageError(f"The {name} is no base64. Send it again.") from None


def _messages(said: Iterable[Said]) -> Iterable[AnyMessage]:
    for each in said:
        if each.text.strip():
            yield HumanMessage(each.text) if each.role == "user" else AIMessage(each.text)


def _of_person(said: Iterable[Said]) -> list[Said]:
    return [each for each in said if each.role == "user"]


def _first(headers: Mapping[str, str], names: Iterable[str]) -> str:
    return next((headers[name] for name in names if headers.get(name)), "")


def _key(kind: str, chat: str, said: Iterable[Said], more: str = "") -> str:
    """Return what names a conversation, however its blanks were changed."""
    told = [(each.role, " ".join(each.text.split()), _files(each)) for each in said]
    digest = hashlib.sha256(json.dumps([chat, more, told]).encode()).hexdigest()
    return f"{kind} {digest}"


def _files(said: Said) -> list[str]:
    parts = said.content if isinstance(said.content, list) else []
    others = (json.dumps(part, sort_keys=True) for part in parts if part.get("type") != "text")
    return [hashlib.sha256(other.encode()).hexdigest() for other in others]
