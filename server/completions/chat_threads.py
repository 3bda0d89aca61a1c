"""The thread that a chat completion continues, by id or history."""

import hashlib
import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage

from base.errors import BadMessageError
from channels.dialogue import code_in
from ledger.ledger import Ledger
from server.completions.request_shapes import Completion, Said

_CHAT_HEADERS = ("x-openwebui-chat-id", "x-chat-id", "x-conversation-id", "x-session-id")
"""Headers by which clients name a chat; Open WebUI's first."""
_REPEAT_HEADERS = ("idempotency-key", "x-openwebui-message-id")
"""Headers that are the same where a request is sent again."""
_RETRY = "x-stainless-retry-count"
"""OpenAI's clients count in it."""


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
