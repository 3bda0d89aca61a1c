"""A mailbox over IMAP (RFC 3501), to read and draft in.

By IMAPClient, which reads a mail's structure as the server tells it: imap-tools fetches whole mails, and
aioimaplib leaves its answers unread. It blocks, so each use is in a worker thread.
"""

import re
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

from base.settings import Settings
from base.texts import visible
from tools.declaration import OutcomeUnknown, ToolFailure, Untrusted
from tools.mail.headers import Headers
from tools.mail.inbox_card import InboxCard, cards

if TYPE_CHECKING:
    from imapclient import IMAPClient  # type: ignore[import-untyped]

_CONNECT_S, _ANSWER_S = 10, 20
_SEARCHED_AT_ONCE = 10_000
"""Mails that one search looks through; the numbers of more may pass what a line may hold."""
_SHOWN_FOLDERS = 50
_SHOWN_ERROR = 300
_ID = re.compile(r"(.+):(\d+):(\d+)", re.DOTALL)
_APPENDED = re.compile(rb"\[APPENDUID (\d+) (\d+)\]", re.IGNORECASE)
_NO_WORD = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]+")
"""What ends a command's line, or can stand in none."""
MAIL_FIELDS = ("FROM", "SUBJECT", "DATE", "REPLY-TO", "MESSAGE-ID", "REFERENCES")
RECIPIENT_FIELDS = ("TO", "CC")
RESULT_FIELDS = ("AUTHENTICATION-RESULTS",)
_FIELDS = {MAIL_FIELDS: 65_536, RECIPIENT_FIELDS: 1_000_000, RESULT_FIELDS: 65_536}
"""Bytes that are read of a mail's headers, whatever their size."""


@dataclass(frozen=True, slots=True)
class MailId:
    """A mail, by what never names another one (RFC 3501, 2.3.1.1)."""

    folder: str
    validity: int
    """The folder's UIDVALIDITY: with another, its UIDs are other mails'."""
    uid: int

    def __str__(self) -> str:
        return f"{self.folder}:{self.validity}:{self.uid}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read an id as a list shows it.

        Raises:
            ToolFailure: it is none.
        """
        if not (match := _ID.fullmatch(text.strip().strip("[]"))):
            raise ToolFailure(
                "That is no id of a mail; list_mail and search_mail show them, such as INBOX:1700000000:42."
            )
        return cls(match[1], int(match[2]), int(match[3]))


class TangledMailError(ToolFailure):
    """A mail has too many parts; the connection may not go on."""


class Mailbox:
    """A mailbox that is logged in to; each method blocks."""

    def __init__(self, client: "IMAPClient", card: InboxCard) -> None:
        self.client = client
        self.card = card
        self.folder = ""
        self.validity = self.size = self.following = 0
        """Of the open folder: UIDVALIDITY, mails, and the UID of the next one that comes."""

    def select(self, folder: str, *, readonly: bool = True) -> None:
        """Open a folder; reading changes nothing in it.

        Raises:
            ToolFailure: there is none.
        """
        from imapclient.exceptions import IMAPClientAbortError, IMAPClientError  # type: ignore[import-untyped]

        try:
            answer = self.client.select_folder(folder, readonly=readonly)
        except IMAPClientAbortError:
            raise
        except IMAPClientError:
            listed = self.client.list_folders()
            names = [visible(str(name)) for flags, _, name in listed if rb"\Noselect" not in flags]
            there = ", ".join(names[:_SHOWN_FOLDERS]) + (" and more" if len(names) > _SHOWN_FOLDERS else "")
            raise ToolFailure(Untrusted(f"There is no folder {folder!r}. There are: {there}.")) from None
        self.folder, self.validity = folder, int(answer.get(b"UIDVALIDITY", 0))
        self.size, self.following = int(answer[b"EXISTS"]), int(answer.get(b"UIDNEXT", 0))

    def select_of(self, mail: MailId) -> None:
        """Open a mail's folder.

        Raises:
            ToolFailure: its numbers are other mails' by now.
        """
        self.select(mail.folder)
        if self.validity != mail.validity:
            raise ToolFailure(f"The id {mail} is out of date: the folder was made anew since. List it again.")

    def search(self, criteria: Sequence[Any], most: int) -> list[int]:
        """Return at most `most` UIDs and one, the newest first."""
        found: list[int] = []
        charset = None if all(str(each).isascii() for each in criteria) else "UTF-8"
        for last in range(self.size, 0, -_SEARCHED_AT_ONCE):
            window = f"{max(1, last - _SEARCHED_AT_ONCE + 1)}:{last}"
            found += sorted(self.client.search([window, *criteria], charset), reverse=True)
            if len(found) > most:
                break
        return found[: most + 1]

    def last_uid(self) -> int:
        """Return the UID of the open folder's last mail, or 0."""
        return self.following - 1 if self.following else max(self.search(["ALL"], 1), default=0)

    def headers(self, uids: Sequence[int], fields: Sequence[tuple[str, ...]]) -> dict[int, dict[bytes, Any]]:
        """Return flags, size, time of arrival and parts of the headers."""
        wanted = [f"BODY.PEEK[HEADER.FIELDS ({' '.join(each)})]<0.{_FIELDS[each]}>" for each in fields]
        self.client.normalise_times = False
        return dict(self.client.fetch(list(uids), ["FLAGS", "INTERNALDATE", "RFC822.SIZE", *wanted]))

    def structure(self, uid: int) -> Any:
        """Return what parts a mail has; None: it is gone."""
        from imapclient.exceptions import IMAPClientAbortError, IMAPClientError

        try:
            return self.client.fetch([uid], ["BODYSTRUCTURE"]).get(uid, {}).get(b"BODYSTRUCTURE")
        except IMAPClientAbortError:
            raise
        except (IMAPClientError, RecursionError, ValueError):
            raise TangledMailError("It has more parts than can be read.") from None

    def fetch(self, uid: int, section: str, most: int) -> bytes:
        """Return the first bytes of a part, or of all ("")."""
        answer = self.client.fetch([uid], [f"BODY.PEEK[{section}]<0.{max(1, most)}>"]).get(uid, {})
        name = f"BODY[{section}]".encode().upper()
        content = next((value for key, value in answer.items() if key.startswith(name)), None)
        return content if isinstance(content, bytes) else str(content or "").encode()

    def find(self, message_id: str) -> list[int]:
        """Return the UIDs of mails in the open folder with a Message-ID."""
        return list(self.client.search(["HEADER", "Message-ID", message_id]))

    @cached_property
    def drafts(self) -> str:
        """Name of the folder of drafts."""
        name = self.card.drafts or self.client.find_special_folder(rb"\Drafts")
        if not name:
            raise ToolFailure(
                "The server names no folder of drafts; set drafts in [tools.inbox] of twobrain.toml."
            )
        return str(name)

    def append(self, folder: str, mail: bytes) -> None:
        """Put a draft into a folder.

        Raises:
            OutcomeUnknown: nobody knows whether it is there.
        """
        from imapclient.exceptions import IMAPClientAbortError

        try:
            self.client.append(folder, mail, (rb"\Draft", rb"\Seen"))
        except (IMAPClientAbortError, OSError):
            raise OutcomeUnknown("The connection broke before the server had confirmed the draft.") from None

    def delete(self, uid: int) -> bool:
        """Delete a mail; False: it is only marked, without UIDPLUS (RFC 4315)."""
        self.client.delete_messages([uid], silent=True)
        if gone := self.client.has_capability("UIDPLUS"):
            self.client.uid_expunge([uid])
        return bool(gone)


def headers_of(answer: dict[bytes, Any], fields: tuple[str, ...]) -> Headers:
    """Return the headers of an answer that were asked for together."""
    wanted = {each.encode() for each in fields}
    parts = ((key.upper().partition(b"(")[2], value) for key, value in answer.items())
    raw = next((value for key, value in parts if set(re.findall(rb"[A-Z-]+", key)) == wanted), b"")
    return Headers.parse(raw if isinstance(raw, bytes) else str(raw or "").encode(), _FIELDS[fields])


def criteria_of(name: str, text: str) -> list[str]:
    """Return what searches for a text; empty: it says nothing."""
    text = " ".join(_NO_WORD.sub(" ", text).split())
    if re.search(r'[\s"\\]|[^\x00-\x7f]', text):
        return [name, text]  # is quoted
    return [part for word in re.split(r"[(){%*\]]+", text) if word for part in (name, word)]


@contextmanager
def open_mailbox(settings: Settings, user: str) -> Iterator[Mailbox]:
    """Connect to a user's IMAP server and log in; blocks.

    Raises:
        ToolFailure: it cannot be used, or broke off.
    """
    from imapclient.exceptions import IMAPClientAbortError, IMAPClientError, LoginError

    card = cards(settings).get(user)
    if card is None:
        raise ToolFailure(
            f"{user} has no mailbox here; [tools.inbox.{user}] of twobrain.toml would name one."
        )
    if lack := card.missing(settings, "mail server"):
        raise ToolFailure(f"The mailbox cannot be read: {lack}.")
    try:
        with _connected(card) as client:
            _log_in(client, card, settings)
            yield Mailbox(client, card)
    except LoginError as error:
        broke = isinstance(error.__context__, IMAPClientAbortError)
        what = "broke off before" if broke else "refused"
        why = f"{card.host} {what} the login of {card.user!r}: {_said(error)}"
        raise ToolFailure(Untrusted(why)) from None
    except IMAPClientError as error:
        raise ToolFailure(Untrusted(f"{card.host} refused that, or broke off: {_said(error)}")) from None
    except (OSError, ssl.CertificateError) as error:
        port = card.port or (993 if card.security == "tls" else 143)
        raise ToolFailure(Untrusted(f"{card.host}:{port} cannot be reached: {error}")) from None
    except (RecursionError, ValueError) as error:  # of what reads its answers
        why = f"{card.host} answered what cannot be read: {type(error).__name__}"
        raise ToolFailure(Untrusted(why)) from None


def _said(error: Exception) -> str:
    """Return a server's words: IMAPClient has them as Python writes bytes."""
    return re.sub(r"^b(['\"])(.*)\1$", r"\2", str(error)[:_SHOWN_ERROR])


def _connected(card: InboxCard) -> "IMAPClient":
    from imapclient import IMAPClient, SocketTimeout

    timeout = SocketTimeout(_CONNECT_S, _ANSWER_S)
    return IMAPClient(card.host, card.port, ssl=card.security == "tls", timeout=timeout)


def _log_in(client: "IMAPClient", card: InboxCard, settings: Settings) -> None:
    if card.security == "starttls":
        client.starttls()
        client.capabilities()  # asked for anew: those of before count for nothing
    user, password = card.login(settings) or ("", "")
    if (user + password).isascii():
        client.login(user, password)
    else:
        client.plain_login(user, password)  # LOGIN cannot carry it
