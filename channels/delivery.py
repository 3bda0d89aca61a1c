"""Texts on their way to chats: paced, repeated, and sent once.

A row stands in the ledger before anything is sent, and holds its message once that is known. What is known is
edited; what may have been sent, because the process or the connection ended meanwhile, is sent once more,
under its key where that makes no second message; else it says so.
"""

import asyncio
import hashlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from base.settings import UserCard
from channels.messages import ChatPlace, Messages
from channels.messenger import (
    AwayError,
    Button,
    ChatGoneError,
    File,
    MessageGoneError,
    Messenger,
    MessengerError,
    SlowDownError,
    UncertainError,
    split,
)
from graphs.attachments import Attachment
from ledger.ledger import Ledger
from nodes.events import Restarted, Token, UsageReported

_T = TypeVar("_T")
_SENT_ONCE_MORE = "(Sent once more: nobody knows whether it reached you.)\n\n"
_RESERVED_CHARS = 300
"""Units of a message that are left for what is added to it later."""
_BURST_MESSAGES = 3
"""Messages to a chat that need not wait."""
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 60.0
_TYPING_S = 4.0
"""Seconds for which messengers show that somebody types."""
_GATHER_S = 0.6
"""Seconds of an answer before it is shown: a short one comes as one message."""
_TAKEN_BACK = "…"
_LOOKS_FOR_SENDING, _LOOK_S = 300, 0.2
"""How often, and after how many seconds, it is looked for what is being sent."""
_GRACE_S = 3.0
"""Seconds that a message which is being sent has when all ends."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """What is to stand in a chat; its key outlives a restart."""

    chat: str
    key: str
    text: str
    user: str
    thread: str | None = None
    buttons: Sequence[Sequence[Button]] = ()
    """Under its last message."""
    reply_to: str | None = None
    question: str | None = None
    """The identity of the question that it puts; None: it puts none."""
    calls: str | None = None
    """The ids of the calls that the question is about, as JSON."""


class Draft:
    """An answer as far as it is written."""

    def __init__(self) -> None:
        self.text = ""
        self.changed, self.ended = asyncio.Event(), asyncio.Event()
        self._finished = 0
        """Characters of the model calls that have ended."""

    def hear(self, event: Any) -> None:
        """Take in what a turn tells."""
        if isinstance(event, Token):
            self.text += event.text
        elif isinstance(event, UsageReported):
            self._finished = len(self.text)
        elif isinstance(event, Restarted):
            self.text = self.text[: self._finished]
        if self.text:
            self.changed.set()


class Delivery:
    """What is sent to one messenger."""

    def __init__(self, messenger: Messenger, ledger: Ledger) -> None:
        self._messenger = messenger
        self._messages = Messages(ledger.access)
        self._now = ledger.now
        self._free_at: dict[str, float] = {}
        """By chat: when its last message is paid for."""
        self._again: set[int] = set()
        """Numbers of what was sent once more."""

    def place(self, chat: str) -> ChatPlace:
        """Return a chat's place."""
        return ChatPlace(self._messenger.name, chat)

    async def put(self, what: Outgoing) -> str | None:
        """Have a text stand in a chat, whatever of it does already.

        Returns:
            Its last message.

        Raises:
            ChatGoneError: the chat cannot be written to.
            MessengerError: the messenger refuses it.
        """
        before = await self._messages.sent(self.place(what.chat), what.key)
        parts = self.parts(what.text) or [_TAKEN_BACK]
        last, message = len(parts) - 1, None
        for number, text in enumerate(parts):
            message = await self._put(what, number, text, before.get(number), is_last=number == last)
        for number, row in before.items():
            if number >= len(parts) and row["message"] and row["text"] != _TAKEN_BACK:
                await self._edit(row, _TAKEN_BACK)
        return message

    async def chat_with(self, card: UserCard, near: str | None) -> str | None:
        """Return a chat that is a user's alone; None: there is none."""
        address = self._messenger.address(card)
        return await self._messenger.private_chat(address, near) if address else None

    async def find(self, place: ChatPlace, message: str) -> dict[str, Any] | None:
        """Return what stands in a chat as a message; None: not ours.

        A message can be seen before its row tells which it is.
        """
        for _ in range(_LOOKS_FOR_SENDING):
            found = await self._messages.find(place, message)
            if found or not await self._messages.is_sending(place):
                return found
            await asyncio.sleep(_LOOK_S)
        return None

    def parts(self, text: str) -> list[str]:
        """Return the messages that a text makes."""
        return split(text, self._messenger.longest - _RESERVED_CHARS, self._messenger.length)

    async def mark(self, row: dict[str, Any], words: str) -> None:
        """Mark a question as answered: words are added, its buttons go."""
        if row["message"]:
            await self._edit(row, f"{row['text']}\n\n{words}")
        await self._messages.delivered(row["id"], status="answered")

    async def take_buttons(self, chat: str, message: str, text: str) -> None:
        """Leave a message its text alone."""
        with suppress(MessengerError):
            await self._messenger.edit(chat, message, text)

    @asynccontextmanager
    async def growing(self, what: Outgoing) -> AsyncIterator[Draft]:
        """Show an answer while it is written; `put` has the last word."""
        draft = Draft()
        shown = asyncio.create_task(self._show(what, draft))
        typing = asyncio.create_task(self._show_typing(what, draft))
        try:
            yield draft
        finally:
            draft.ended.set()
            draft.changed.set()  # whoever waits for its first words waits no more
            typing.cancel()
            if (task := asyncio.current_task()) and task.cancelling():
                shown.cancel()
            await asyncio.gather(shown, typing, return_exceptions=True)

    async def _show(self, what: Outgoing, draft: Draft) -> None:
        with suppress(MessengerError):  # which the last word meets again
            while not draft.ended.is_set():
                await draft.changed.wait()
                if await _is_set(draft.ended, _GATHER_S):
                    return
                draft.changed.clear()
                await self.put(Outgoing(what.chat, what.key, draft.text, what.user, what.thread))
                await _is_set(draft.ended, self._messenger.pause_s)

    async def _show_typing(self, what: Outgoing, draft: Draft) -> None:
        with suppress(MessengerError):  # it is an ornament
            while not draft.changed.is_set():
                await self._messenger.show_typing(what.chat)
                await _is_set(draft.changed, _TYPING_S)

    async def _put(
        self, what: Outgoing, number: int, text: str, row: dict[str, Any] | None, *, is_last: bool
    ) -> str:
        status = "asked" if is_last and what.question else "sent"
        question = {"question": what.question, "calls": what.calls} if is_last else {}
        buttons = what.buttons if is_last else ()
        if row and not row["message"] and self._messenger.deduplicates:
            row = {**row, "message": await self._send(what, row, buttons), "status": status}
        if row and row["message"]:
            if row["text"] != text or row["status"] != status:
                await self._edit(row, text, buttons)
                await self._messages.delivered(row["id"], text=text, status=status, **question)
            return str(row["message"])
        values = {"user": what.user, "thread": what.thread, "text": text, "status": "sending", **question}
        place, now = self.place(what.chat), self._now()
        identity = await self._messages.deliver(place, what.key, number, now, message=None, **values)
        if row:
            self._again.add(identity)
        fresh = {"id": identity, "part": number, "at": now, "text": text, **question}
        sending = asyncio.create_task(self._send(what, fresh, buttons))
        try:
            return await asyncio.shield(sending)
        except asyncio.CancelledError:  # what is under way is better known to have been sent
            await asyncio.wait([sending], timeout=_GRACE_S)
            sending.cancel()
            raise

    async def _send(self, what: Outgoing, row: Mapping[str, Any], buttons: Sequence[Sequence[Button]]) -> str:
        """Send what a row holds, under its own key; return the message."""
        key = hashlib.sha256(f"{what.chat} {what.key} {row['part']} {row['at']!r}".encode()).hexdigest()

        async def attempt() -> str:
            shown = f"{_SENT_ONCE_MORE}{row['text']}" if row["id"] in self._again else row["text"]
            try:
                return await self._messenger.send(what.chat, shown, buttons, reply_to=what.reply_to, key=key)
            except UncertainError:
                self._again.add(row["id"])
                raise

        message = await self._persistently(what.chat, attempt)
        status = "asked" if row.get("question") else "sent"
        await self._messages.delivered(row["id"], message=message, status=status)
        return message

    async def _edit(self, row: dict[str, Any], text: str, buttons: Sequence[Sequence[Button]] = ()) -> None:
        shown = f"{_SENT_ONCE_MORE}{text}" if row["id"] in self._again else text
        with suppress(MessageGoneError):  # whoever deleted it does not want to see it
            await self._persistently(
                row["chat"], lambda: self._messenger.edit(row["chat"], row["message"], shown, buttons)
            )

    async def fetch(self, file: File) -> Attachment:
        """Return a file's content. Raises MessengerError: it cannot be had."""
        return await self._persistently("", lambda: self._messenger.fetch(file))

    async def _persistently(self, chat: str, attempt: Callable[[], Awaitable[_T]]) -> _T:
        """Return what an attempt gives, made until it is answered.

        Args:
            chat: in which it counts as a message; empty: it is none.
            attempt: what is made.
        """
        pause = _FIRST_PAUSE_S
        while True:
            if chat:
                await self._wait_for_turn(chat)
            try:
                return await attempt()
            except SlowDownError as error:
                await asyncio.sleep(error.after_s)
            except (AwayError, UncertainError) as error:
                if pause == _FIRST_PAUSE_S:
                    _log.warning("a message on %s waits, and is tried again: %s", self._messenger.name, error)
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_S)
            except ChatGoneError as error:
                _log.warning("a chat on %s cannot be written to: %s", self._messenger.name, error)
                raise

    async def _wait_for_turn(self, chat: str) -> None:
        pause, now = self._messenger.pause_s, time.monotonic()
        due = max(self._free_at.get(chat, 0.0), now - (_BURST_MESSAGES - 1) * pause)
        self._free_at[chat] = due + pause
        await asyncio.sleep(max(0.0, due - now))


async def _is_set(event: asyncio.Event, within_s: float) -> bool:
    """Wait for an event, or some seconds; tell whether it came."""
    with suppress(TimeoutError):
        async with asyncio.timeout(within_s):
            await event.wait()
    return event.is_set()
