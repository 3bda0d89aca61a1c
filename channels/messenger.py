"""What a messenger does, what comes from it, how texts are cut."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, Protocol, Self

from base.errors import TwobrainError
from base.settings import UserCard
from graphs.attachments import Attachment


class Button(NamedTuple):
    """A button under a message."""

    label: str
    data: str
    """What the messenger sends when it is pressed; at most 64 bytes."""
    sign: str = ""
    """A reaction to the message that means the same, where there are no buttons; empty: none does."""


@dataclass(frozen=True, slots=True)
class File:
    """A file that came with a message and is not fetched yet."""

    id: str
    name: str
    type: str = ""
    size: int | None = None
    """Bytes; None: unknown."""


@dataclass(frozen=True, slots=True)
class Incoming:
    """A message, or a button that was pressed."""

    id: str
    """What the messenger calls this update; it never gives it to another."""
    chat: str
    sender: str
    is_private: bool
    """Nobody but its sender reads along."""
    text: str = ""
    files: tuple[File, ...] = ()
    reply_to: str = ""
    """The message that it replies to."""
    album: str = ""
    """Shared by messages that were sent as one."""
    forwarded: bool = False
    """Its sender did not write it."""
    refused: str = ""
    """Why some of it cannot be read, in a sentence; empty: all can."""
    pressed: str = ""
    """The data of the button, or its sign; empty: none was pressed."""
    message: str = ""
    """The message that bears the button."""
    query: str = ""
    """By which the press is acknowledged."""
    notice: str = ""
    """What is said, once, where it may not be used; empty: nothing is."""

    def stored(self) -> str:
        """Return it as text for the ledger."""
        return json.dumps(asdict(self))

    @classmethod
    def read(cls, content: str) -> Self:
        """Return what was stored."""
        found: dict[str, Any] = json.loads(content)
        return cls(**{**found, "files": tuple(File(**each) for each in found["files"])})


_FENCE = re.compile(r"^(`{3,})[^`\n]*\n(.*?)\n\1$", re.DOTALL | re.MULTILINE)


class MessengerError(TwobrainError):
    """A messenger did not do what it was asked; nothing was sent."""


class SlowDownError(MessengerError):
    """It asks to wait `after_s` seconds."""

    def __init__(self, message: str, after_s: float) -> None:
        super().__init__(message)
        self.after_s = after_s


class AwayError(MessengerError):
    """It cannot be reached just now."""


class UncertainError(MessengerError):
    """The connection ended before the answer: it may have been sent."""


class ChatGoneError(MessengerError):
    """The chat is gone, or its person blocked us."""


class MessageGoneError(MessengerError):
    """The message to be changed is not there any more."""


class Messenger(Protocol):
    """A program in which people write; a context manager that connects.

    Its methods raise MessengerError, or one of its kinds where that is known.
    """

    name: str
    """Of its table in `[channels]`, and of the key in `[users.NAME]` that says who a person is there."""
    remembers: bool
    """Begun without a cursor, it tells again what was not taken in; else the stored one is needed."""
    longest: int
    """Units of the longest message."""
    pause_s: float
    """Seconds between messages to one chat, in the long run."""
    deduplicates: bool
    """What is sent again under its key is there once."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *_: object) -> None: ...

    async def own_name(self) -> str:
        """Return its own name there; so its token is good."""

    async def unusable(self) -> str:
        """Return in a sentence which chats cannot be used; empty: none."""

    def length(self, text: str) -> int:
        """Return how many units a text has."""

    def address(self, card: UserCard) -> str | None:
        """Return who a user is there; None: nobody."""

    async def private_chat(self, address: str, near: str | None) -> str | None:
        """Return somebody's private chat, `near` if it is; None: there is none."""

    def serves(self, incoming: Incoming) -> bool:
        """Tell whether a chat is one in which it may be used."""

    async def receive(self, cursor: str | None) -> tuple[Sequence[Incoming], str]:
        """Wait for what comes after a cursor; return the next one, too.

        What came before the cursor need not be stored there any more. None: from where it was left.
        """

    async def send(
        self,
        chat: str,
        text: str,
        buttons: Sequence[Sequence[Button]] = (),
        *,
        reply_to: str | None = None,
        key: str = "",
    ) -> str:
        """Send a text, shown as it is; return the message's id.

        The key is the same for what is sent again; empty: it never is.

        Raises:
            UncertainError: it may have been sent.
        """

    async def edit(
        self, chat: str, message: str, text: str, buttons: Sequence[Sequence[Button]] = ()
    ) -> None:
        """Put another text and other buttons in a message's place."""

    async def show_typing(self, chat: str) -> None:
        """Show for some seconds that an answer is being written."""

    async def acknowledge(self, incoming: Incoming, text: str) -> None:
        """Tell whoever pressed a button what came of it."""

    async def fetch(self, file: File) -> Attachment:
        """Return a file's content."""


def segments(text: str) -> list[tuple[str, bool]]:
    """Return a text's parts, each with whether it is fenced code."""
    parts, end = [], 0
    for fence in _FENCE.finditer(text):
        parts += [(text[end : fence.start()], False), (fence[2], True)]
        end = fence.end()
    return [part for part in (*parts, (text[end:], False)) if part[0]]


def split(text: str, longest: int, length: Callable[[str], int]) -> list[str]:
    """Return a text as messages, cut between paragraphs, lines or words.

    What grows is cut where it was before.
    """
    parts = []
    rest = text.strip()
    while length(rest) > longest:
        head = _head(rest, longest, length)
        places = (head.rfind(mark) for mark in ("\n\n", "\n", " "))
        cut = next((place for place in places if place > len(head) // 2), len(head))
        parts.append(rest[:cut].rstrip())
        rest = rest[cut:].lstrip("\n ")
    return [*parts, rest] if rest else parts


def _head(text: str, longest: int, length: Callable[[str], int]) -> str:
    """Return as many characters as fit, found by halving."""
    low, high = 1, min(len(text), longest)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if length(text[:middle]) <= longest else (low, middle - 1)
    return text[:low]
