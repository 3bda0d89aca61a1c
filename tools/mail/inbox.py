"""The person's mailbox: listing, searching and reading mails."""

from collections.abc import Sequence
from datetime import date, datetime
from functools import partial
from typing import Annotated, Any, NamedTuple
from zoneinfo import ZoneInfo

from pydantic import Field

from base.settings import Settings
from base.texts import count, visible
from base.worker_threads import in_thread
from tools.declaration import Here, ToolFailure, Untrusted, tool
from tools.mail.headers import SenderCheck, check_sender
from tools.mail.imap import (
    MAIL_FIELDS,
    RECIPIENT_FIELDS,
    RESULT_FIELDS,
    Mailbox,
    MailId,
    criteria_of,
    headers_of,
    open_mailbox,
)
from tools.mail.inbox_card import InboxCard, cards
from tools.mail.parts import MailPart, body_of, parts_of
from tools.web.download import LIMIT
from tools.web.pages import read_document

_MAILS_LISTED = 20
_SHOWN_PARTS = 50
_MB = 1_000_000
_BASE64 = 4 / 3 * 1.03
"""Bytes as sent for one of a file, line ends included."""

Mail = Annotated[str, "the id as a list shows it, such as INBOX:1700000000:42"]
Folder = Annotated[str, "such as INBOX"]
Unread = Annotated[bool, "true: only those that are not read yet"]
Older = Annotated[str, "id of the last mail of a list, to go on from there; may be empty"]
Day = Annotated[str, Field(pattern=r"^(\d{4}-\d\d-\d\d)?$"), "such as 2026-11-20; may be empty"]


def missing(settings: Settings) -> str | None:
    """Say how a mailbox is set up; None: somebody has one."""
    found = cards(settings).values()
    if not found:
        return "set host, user and password_env in [tools.inbox.NAME] of twobrain.toml"
    lacks = [card.missing(settings, "mail server") for card in found]
    return lacks[0] if all(lacks) else None


@tool(effect="read", untrusted=True, missing=missing)
async def list_mail(
    here: Here, folder: Folder = "INBOX", unread: Unread = False, older_than: Older = ""
) -> str:
    """List mails in a folder of the person's mailbox, the newest first."""
    return await in_thread(partial(_list, here, folder, ["UNSEEN"] if unread else [], older_than))


@tool(effect="read", untrusted=True, missing=missing)
async def search_mail(  # noqa: PLR0913, PLR0917 (each is something to search by)
    here: Here,
    text: Annotated[str, "words in the text or the headers; may be empty"] = "",
    sender: Annotated[str, "part of a name or an address; may be empty"] = "",
    subject: Annotated[str, "part of the subject; may be empty"] = "",
    since: Day = "",
    before: Day = "",
    folder: Folder = "INBOX",
    unread: Unread = False,
    older_than: Older = "",
) -> str:
    """Search mails in a folder of the person's mailbox by all that is given."""
    given = {"TEXT": text, "FROM": sender, "SUBJECT": subject}
    words: list[Any] = [part for name, value in given.items() for part in criteria_of(name, value)]
    for name, day in (("SINCE", since), ("BEFORE", before)):
        words += [name, _day(day)] if day else []
    words += ["UNSEEN"] if unread else []
    if not words:
        raise ToolFailure("Say what to search for, or use list_mail.")
    return await in_thread(partial(_list, here, folder, words, older_than))


@tool(effect="read", untrusted=True, missing=missing)
async def read_mail(
    here: Here, mail: Mail, links: Annotated[bool, "true: keep the addresses of links in it"] = False
) -> str:
    """Read a mail: who it is from and whether that is certain, its text, its attachments."""
    return await (await in_thread(partial(_read, here, MailId.parse(mail)))).text(links=links)


@tool(effect="read", untrusted=True, missing=missing)
async def read_attachment(
    here: Here, attachment: Annotated[str, "the handle that read_mail shows, such as INBOX:1700000000:42/2"]
) -> str:
    """Read a file that came with a mail, as text: texts, pages and PDFs."""
    name, _, number = attachment.strip().strip("[]").rpartition("/")
    part, raw = await in_thread(partial(_fetched, here, MailId.parse(name), number))
    return await _text(part, raw, visible(part.name) or f"part {part.number}")


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ToolFailure(f"There is no day {text}.") from None


def _list(here: Here, folder: str, criteria: Sequence[Any], older_than: str) -> str:
    zone = here.settings.zone(here.user)
    with open_mailbox(here.settings, here.user) as box:
        if older_than:
            last = MailId.parse(older_than)
            box.select_of(last)
            criteria = ["UID", f"1:{max(1, last.uid - 1)}", *criteria]
        else:
            box.select(folder)
        found = box.search(criteria or ["ALL"], _MAILS_LISTED)
        told = box.headers(found[:_MAILS_LISTED], [MAIL_FIELDS, RESULT_FIELDS])
        mails = [
            (MailId(box.folder, box.validity, uid), told[uid]) for uid in found[:_MAILS_LISTED] if uid in told
        ]
        lines = [_line(mail, each, box.card, zone) for mail, each in mails]
        where = f"{visible(box.folder)} has {count(box.size, 'mail')}"
    if not lines:
        return f"{where}; no more than that fits." if older_than else f"{where}; none fits."
    more = [f"There are more: older_than {mails[-1][0]} goes on."] if len(found) > _MAILS_LISTED else []
    return "\n".join([f"{where}. Times in {zone}, the newest first:", *lines, *more])


def _line(mail: MailId, answer: dict[bytes, Any], card: InboxCard, zone: ZoneInfo) -> str:
    headers = headers_of(answer, MAIL_FIELDS)
    people = headers.people("From")
    check = sender_check(answer, card)
    sender = ", ".join(map(str, people[:2])) or "nobody"
    mark = "" if check.passed else " (sender not certain)"
    unread = "" if rb"\Seen" in answer.get(b"FLAGS", ()) else ", unread"
    subject = headers.text("Subject")[:200] or "(no subject)"
    return f"[{visible(str(mail))}] {_arrived(answer, zone)}{unread}, from {sender}{mark}: {subject}"


def sender_check(answer: dict[bytes, Any], card: InboxCard) -> SenderCheck:
    """Tell whether a mail's sender is certain."""
    sender = headers_of(answer, MAIL_FIELDS).sender()
    return check_sender(sender, headers_of(answer, RESULT_FIELDS).results(), card.authserv_id)


def _arrived(answer: dict[bytes, Any], zone: ZoneInfo) -> str:
    when = answer.get(b"INTERNALDATE")
    return f"{when.astimezone(zone):%Y-%m-%d %H:%M}" if isinstance(when, datetime) else "at an unknown time"


class FetchedMail(NamedTuple):
    """What was fetched of a mail."""

    head: list[str]
    body: MailPart | None
    raw: bytes
    """The beginning of its body, as sent."""
    files: list[str]

    async def text(self, *, links: bool = False) -> str:
        """Return a mail as a model reads it."""
        text = "(It has no text.)"
        try:
            if self.body:
                text = await _text(self.body, self.raw, "the mail", links=links)
        except ToolFailure as failure:
            text = f"({failure})"
        return "\n".join([*self.head, "", text, *self.files])


def fetch_mail(box: Mailbox, mail: MailId, answer: dict[bytes, Any], zone: ZoneInfo) -> FetchedMail:
    """Fetch what is read of a mail whose headers are known; blocks."""
    parts = _parts(box, mail)
    part = body_of(parts)
    raw = box.fetch(mail.uid, part.number, LIMIT) if part else b""
    files = _others(mail, [each for each in parts if each is not part])
    return FetchedMail(head_of(mail, answer, box.card, zone), part, raw, files)


def _read(here: Here, mail: MailId) -> FetchedMail:
    with open_mailbox(here.settings, here.user) as box:
        box.select_of(mail)
        return fetch_mail(box, mail, _answer(box, mail), here.settings.zone(here.user))


def _answer(box: Mailbox, mail: MailId) -> dict[bytes, Any]:
    found = box.headers([mail.uid], [MAIL_FIELDS, RECIPIENT_FIELDS, RESULT_FIELDS]).get(mail.uid)
    if found is None:
        raise ToolFailure(f"The mail {mail} is not there any more.")
    return found


def head_of(mail: MailId, answer: dict[bytes, Any], card: InboxCard, zone: ZoneInfo) -> list[str]:
    """Return what a mail says of itself, and what that is worth."""
    headers, recipients = headers_of(answer, MAIL_FIELDS), headers_of(answer, RECIPIENT_FIELDS)
    told = {
        "From": ", ".join(map(str, headers.people("From")[:5])) or "nobody",
        "Sender": sender_check(answer, card).words,
        "Reply-To": ", ".join(map(str, headers.people("Reply-To")[:5])),
        "To": recipients.recipients("To"),
        "Cc": recipients.recipients("Cc"),
        "Subject": headers.text("Subject"),
        "Arrived": f"{_arrived(answer, zone)} ({zone})",
        "Id": visible(str(mail)),
        "Size": f"{answer.get(b'RFC822.SIZE', 0):,} bytes",
    }
    return [f"{name}: {value}" for name, value in told.items() if value]


def subject_of(text: str) -> str:
    """Return the subject in a mail's text; empty: there is none."""
    head = text.partition("\n\n")[0].split("\n")
    return next((line.removeprefix("Subject: ") for line in head if line.startswith("Subject: ")), "")


def _parts(box: Mailbox, mail: MailId) -> list[MailPart]:
    structure = box.structure(mail.uid)
    if structure is None:
        raise ToolFailure(f"The mail {mail} is not there any more.")
    return list(parts_of(structure))


def _others(mail: MailId, parts: Sequence[MailPart]) -> list[str]:
    if not parts:
        return []
    lines = [
        f"[{visible(str(mail))}/{each.number}] {each.name or '(no name)'}, {each.kind}, {each.size:,} bytes"
        for each in parts[:_SHOWN_PARTS]
    ]
    more = [f"and {len(parts) - _SHOWN_PARTS:,} more"] if len(parts) > _SHOWN_PARTS else []
    return ["", "Attachments (read_attachment reads one):", *lines, *more]


def _fetched(here: Here, mail: MailId, number: str) -> tuple[MailPart, bytes]:
    """Return an attachment as sent; of a long text, its beginning."""
    most = int(here.settings.limits.max_attachment_mb * _MB)
    with open_mailbox(here.settings, here.user) as box:
        box.select_of(mail)
        parts = _parts(box, mail)
        part = next((each for each in parts if each.number == number), None)
        if part is None:
            there = ", ".join(each.number for each in parts[:_SHOWN_PARTS])
            raise ToolFailure(Untrusted(f"The mail {mail} has no part {number!r}; it has {there}."))
        if not part.is_text and part.size > most * _BASE64:
            why = f"The attachment has {part.size:,} bytes as sent, and at most {most:,} are read"
            raise ToolFailure(f"{why} (max_attachment_mb). It was not fetched.")
        return part, box.fetch(mail.uid, number, LIMIT if part.is_text else part.size)


async def _text(part: MailPart, raw: bytes, name: str, *, links: bool = False) -> str:
    document = await in_thread(partial(part.document, raw, name))
    _, text = await read_document(document, links=links)
    return text


TOOLS = (list_mail, search_mail, read_mail, read_attachment)
