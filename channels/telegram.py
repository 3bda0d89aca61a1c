"""Telegram: its Bot API by long polling, through python-telegram-bot."""

import asyncio
import logging
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Self

import httpx

from base.errors import ConfigurationError
from base.settings import Card, Settings, UserCard
from channels.messenger import (
    AwayError,
    Button,
    ChatGoneError,
    File,
    Incoming,
    MessageGoneError,
    MessengerError,
    SlowDownError,
    UncertainError,
    segments,
)
from graphs.attachments import Attachment
from graphs.shadowing import CHECKOUT
from schedules.destinations import TOKENS

if TYPE_CHECKING:
    from telegram import Bot, CallbackQuery, InlineKeyboardMarkup, Message, MessageEntity, Update

_LONGEST_TEXT = 4_096
"""UTF-16 units of a message (core.telegram.org/bots/api, sendMessage)."""
_LARGEST_FILE = 20_000_000
"""Bytes of a file that a bot may fetch (getFile)."""
_POLL_S = 25
"""Seconds for which Telegram holds a request until something comes."""
_PATIENCE_S = 15.0
_LONGEST_TOAST = 200
"""Characters of what is shown over a chat (answerCallbackQuery)."""
_NEVER_LEFT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_GONE = ("chat not found", "user is deactivated", "peer_id_invalid", "bot was kicked", "not enough rights")
_LOGGERS = ("httpx", "httpcore.http11", "telegram.Bot")
"""Loggers that tell of each request."""
_FILE_KINDS = {
    "document": "file",
    "audio": "audio.mp3",
    "voice": "voice message.ogg",
    "video": "video.mp4",
    "video_note": "video message.mp4",
    "animation": "animation.mp4",
    "sticker": "sticker.webp",
}
"""What a message can bring, and what it is called where it has no name."""


class TelegramCard(Card):
    """The `[channels.telegram]` table."""

    token_env: str = TOKENS["telegram"]
    """Name of the environment variable that holds the bot's token, as @BotFather gives it."""
    base_url: str = "https://api.telegram.org"
    """Of the Bot API; another where you run your own server of it."""
    groups: tuple[int, ...] = ()
    """Ids of the groups in which the people who are configured may use it."""


def telegram_card(settings: Settings) -> TelegramCard | None:
    """Return Telegram's table; None: it is not used.

    Raises:
        ConfigurationError: it is not as expected.
    """
    return settings.read_table(("channels", "telegram"), TelegramCard)


def open_telegram(settings: Settings) -> "Telegram | None":
    """Return Telegram, not connected yet; None: it is not configured.

    Raises:
        ConfigurationError: its table is not as expected, its token is not set, or its library is missing.
    """
    card = telegram_card(settings)
    if card is None:
        return None
    if not find_spec("telegram"):
        raise ConfigurationError(
            f"Telegram needs an extra. In {CHECKOUT}: {sys.executable} -m pip install -c constraints.txt "
            "-e '.[channels]'"
        )
    token = settings.secret(card.token_env)
    if token is None:
        raise ConfigurationError(
            f"Telegram has no token: set the variable {card.token_env} to the one that @BotFather gave you."
        )
    return Telegram(card, token)


class Telegram:
    """Telegram as a messenger; see `channels.messenger.Messenger`."""

    name = "telegram"
    remembers = True
    longest = _LONGEST_TEXT
    pause_s = 1.0
    deduplicates = False

    def __init__(self, card: TelegramCard, token: str) -> None:
        self._card = card
        self._token = token

    async def __aenter__(self) -> Self:
        """Connect; no log has the addresses, which hold the token."""
        for name in _LOGGERS:
            logging.getLogger(name).addFilter(self._is_harmless)
        self._bot = await asyncio.to_thread(self._open)
        return self

    def _is_harmless(self, record: logging.LogRecord) -> bool:
        return self._token not in record.getMessage()

    def _open(self) -> "Bot":
        os.environ.setdefault("PTB_TIMEDELTA", "true")  # what the library will do anyway; else it warns
        from telegram import Bot
        from telegram.request import HTTPXRequest

        base = self._card.base_url.rstrip("/")
        times: Any = dict.fromkeys(("read_timeout", "write_timeout", "connect_timeout"), _PATIENCE_S)
        self._requests = (
            HTTPXRequest(connection_pool_size=32, pool_timeout=_PATIENCE_S, **times),
            HTTPXRequest(connection_pool_size=1, **times),
        )
        return Bot(
            self._token,
            base_url=f"{base}/bot",
            base_file_url=f"{base}/file/bot",
            request=self._requests[0],
            get_updates_request=self._requests[1],
        )

    async def __aexit__(self, *_: object) -> None:
        """Close the connections."""
        for request in self._requests:
            await request.shutdown()
        for name in _LOGGERS:
            logging.getLogger(name).removeFilter(self._is_harmless)

    async def own_name(self) -> str:
        """Return the bot's name."""
        with _explained():
            return f"@{(await self._bot.get_me()).username}"

    async def unusable(self) -> str:
        """Return nothing: Telegram does not tell in which chats a bot is."""
        return ""

    def length(self, text: str) -> int:
        """Return a text's UTF-16 units."""
        return len(text.encode("utf-16-le", "surrogatepass")) // 2

    def address(self, card: UserCard) -> str | None:
        """Return a user's id."""
        return None if card.telegram is None else str(card.telegram)

    async def private_chat(self, address: str, near: str | None) -> str | None:  # noqa: ARG002 (a person has one)
        """Return a user's private chat, whose id is theirs."""
        return address

    def serves(self, incoming: Incoming) -> bool:
        """Tell whether a chat is its sender's own, or a configured group."""
        if incoming.is_private:
            return incoming.chat == incoming.sender
        return int(incoming.chat) in self._card.groups

    async def receive(self, cursor: str | None) -> tuple[Sequence[Incoming], str]:
        """Wait for updates.

        The first request names none to begin with: what is not confirmed comes again, and what is older than
        a day or a week may have been numbered anew.
        """
        with _explained():
            updates = await self._bot.get_updates(
                offset=int(cursor) if cursor else None,
                timeout=_POLL_S,
                read_timeout=_POLL_S + _PATIENCE_S,
                allowed_updates=["message", "callback_query"],
            )
        last = str(updates[-1].update_id + 1) if updates else cursor or ""
        bot = self._token.partition(":")[0]
        return [found for each in updates if (found := _incoming(f"{bot}:{each.update_id}", each))], last

    async def send(
        self,
        chat: str,
        text: str,
        buttons: Sequence[Sequence[Button]] = (),
        *,
        reply_to: str | None = None,
        key: str = "",  # noqa: ARG002 (Telegram knows no keys)
    ) -> str:
        """Send a text; its code fences become code, all else stays."""
        from telegram import LinkPreviewOptions, ReplyParameters

        shown, entities = _formed(text)
        with _explained():
            sent = await self._bot.send_message(
                int(chat),
                shown,
                entities=entities,
                reply_markup=_keyboard(buttons),
                link_preview_options=LinkPreviewOptions(is_disabled=True),
                reply_parameters=ReplyParameters(int(reply_to), allow_sending_without_reply=True)
                if reply_to
                else None,
            )
        return str(sent.message_id)

    async def edit(
        self, chat: str, message: str, text: str, buttons: Sequence[Sequence[Button]] = ()
    ) -> None:
        """Put another text in a message's place."""
        from telegram import LinkPreviewOptions

        shown, entities = _formed(text)
        with _explained():
            await self._bot.edit_message_text(
                shown,
                chat_id=int(chat),
                message_id=int(message),
                entities=entities,
                reply_markup=_keyboard(buttons),
                link_preview_options=LinkPreviewOptions(is_disabled=True),
            )

    async def show_typing(self, chat: str) -> None:
        """Show for five seconds that an answer is being written."""
        with _explained():
            await self._bot.send_chat_action(int(chat), "typing")

    async def acknowledge(self, incoming: Incoming, text: str) -> None:
        """Show a line over the chat."""
        with _explained():
            await self._bot.answer_callback_query(incoming.query, text[:_LONGEST_TOAST] or None)

    async def fetch(self, file: File) -> Attachment:
        """Return a file's content."""
        with _explained():
            found = await self._bot.get_file(file.id, read_timeout=_PATIENCE_S)
            data = await found.download_as_bytearray(read_timeout=2 * _PATIENCE_S)
        return Attachment(file.name, bytes(data), file.type)


@contextmanager
def _explained() -> Iterator[None]:
    """Raise the library's errors as ours."""
    from telegram.error import BadRequest, ChatMigrated, Forbidden, NetworkError, RetryAfter, TelegramError

    try:
        yield
    except RetryAfter as error:
        raise SlowDownError(str(error), _seconds(error.retry_after)) from error
    except (Forbidden, ChatMigrated) as error:
        raise ChatGoneError(str(error)) from error
    except BadRequest as error:
        if refusal := _refusal(str(error)):
            raise refusal from error
    except NetworkError as error:
        kind = AwayError if isinstance(error.__cause__, _NEVER_LEFT) else UncertainError
        raise kind(f"Telegram cannot be reached: {error}") from error
    except TelegramError as error:
        raise MessengerError(f"Telegram refuses: {error}") from error


def _refusal(words: str) -> MessengerError | None:
    """Return what a bad request means; None: nothing bad."""
    small = words.lower()
    if "message is not modified" in small or "query is too old" in small:
        return None
    if any(gone in small for gone in _GONE):
        return ChatGoneError(words)
    if "message to edit not found" in small or "message can't be edited" in small:
        return MessageGoneError(words)
    return MessengerError(f"Telegram refuses: {words}")


def _seconds(period: Any) -> float:
    return float(period) if isinstance(period, int | float) else float(period.total_seconds())


def _formed(text: str) -> tuple[str, "list[MessageEntity]"]:
    """Return a text whose code fences are code by offset.

    Offsets are in UTF-16 units. What stands in code is neither a link nor a command; no form is read from
    what somebody wrote.
    """
    from telegram import MessageEntity

    shown, entities = "", []
    for part, is_code in segments(text):
        if is_code and part.strip():
            entities.append(MessageEntity(MessageEntity.PRE, _units(shown), _units(part)))
        shown += part
    return shown, entities


def _units(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def _keyboard(buttons: Sequence[Sequence[Button]]) -> "InlineKeyboardMarkup | None":
    if not buttons:
        return None
    from telegram import InlineKeyboardButton, InlineKeyboardMarkup

    return InlineKeyboardMarkup(
        [[InlineKeyboardButton(each.label, callback_data=each.data) for each in row] for row in buttons]
    )


def _incoming(name: str, update: "Update") -> Incoming | None:
    """Return what an update brings; None: nothing that is acted on."""
    if query := update.callback_query:
        return _pressed(name, query)
    if update.message and update.message.from_user:
        return _said(name, update.message)
    return None


def _pressed(name: str, query: "CallbackQuery") -> Incoming | None:
    if not (query.message and query.data):
        return None
    return Incoming(
        id=name,
        chat=str(query.message.chat.id),
        sender=str(query.from_user.id),
        is_private=query.message.chat.type == "private",
        pressed=query.data,
        message=str(query.message.message_id),
        query=query.id,
    )


def _said(name: str, message: "Message") -> Incoming | None:
    files = _files(message)
    small = tuple(each for each in files if each.size is None or each.size <= _LARGEST_FILE)
    refused = "" if small == files else "Telegram gives bots no file of more than 20 MB: send a smaller one."
    text = message.text or message.caption or ""
    if not (text or files):
        if message.effective_attachment is None:
            return None  # somebody joined, a title was changed, and the like
        refused = "Messages of that kind are not read here: text, pictures, files, sound and film are."
    reply = message.reply_to_message
    return Incoming(
        id=name,
        chat=str(message.chat.id),
        sender=str(message.from_user.id) if message.from_user and not message.sender_chat else "",
        is_private=message.chat.type == "private",
        text=text,
        files=small,
        reply_to=str(reply.message_id) if reply else "",
        album=message.media_group_id or "",
        forwarded=message.forward_origin is not None or message.via_bot is not None,
        refused=refused,
    )


def _files(message: "Message") -> tuple[File, ...]:
    """Return what a message brings, of a picture its largest size."""
    if message.photo:
        fitting = [each for each in message.photo if (each.file_size or 0) <= _LARGEST_FILE]
        best = (fitting or message.photo)[-1]
        return (File(best.file_id, "photo.jpg", "image/jpeg", best.file_size),)
    found: Mapping[str, Any] = {kind: getattr(message, kind) for kind in _FILE_KINDS}
    kind, file = next(((kind, each) for kind, each in found.items() if each), ("", None))
    if message.animation:  # comes as a document, too
        kind, file = "animation", message.animation
    if file is None:
        return ()
    name = getattr(file, "file_name", None) or _FILE_KINDS[kind]
    return (File(file.file_id, name, getattr(file, "mime_type", None) or "", file.file_size),)
