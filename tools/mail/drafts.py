"""Drafts of replies, saved in the person's mailbox and sent by nobody."""

from functools import partial
from hashlib import sha256
from typing import Annotated, Any, NamedTuple

from base.texts import is_blank, visible
from base.worker_threads import in_thread
from tools.declaration import Here, Kind, OutcomeUnknown, ToolFailure, Undo, Untrusted, tool
from tools.mail.headers import Headers
from tools.mail.imap import MAIL_FIELDS, RECIPIENT_FIELDS, Mailbox, MailId, headers_of, open_mailbox
from tools.mail.inbox import Mail, missing
from tools.mail.inbox_card import InboxCard
from tools.mail.tools import Body, compose, plain_address

_MOST_PEOPLE = 50
_REFERENCES = 20
"""Mails of a conversation that a reply refers to (RFC 5322, 3.6.4), the last ones."""
_LONGEST_SUBJECT = 500

ToAll = Annotated[bool, "true: to all who got the mail, too"]


class _Reply(NamedTuple):
    people: dict[str, str]
    subject: str
    lines: str
    """The headers that say what it answers."""
    sender: str
    """Who wrote that, as it says; whom it goes to may be others."""


def _reply_to(box: Mailbox, mail: MailId, *, to_all: bool) -> _Reply:
    box.select_of(mail)
    answer = box.headers([mail.uid], [MAIL_FIELDS, RECIPIENT_FIELDS]).get(mail.uid)
    if answer is None:
        raise ToolFailure(f"The mail {mail} is not there any more.")
    headers, recipients = headers_of(answer, MAIL_FIELDS), headers_of(answer, RECIPIENT_FIELDS)
    named = headers.people("Reply-To") or headers.people("From")
    if to_all:
        named += [*recipients.people("To"), *recipients.people("Cc")]
    people = _addresses([each.address for each in named], box.card, is_cut=to_all and recipients.is_cut)
    subject = headers.text("Subject")[:_LONGEST_SUBJECT]
    subject = subject if subject.lower().startswith("re:") else f"Re: {subject}"
    sender = ", ".join(map(str, headers.people("From")[:2]))
    return _Reply(people, subject.strip(), _references(headers), sender)


def _addresses(addresses: list[str], card: InboxCard, *, is_cut: bool) -> dict[str, str]:
    """Return whom a reply goes to, without the names that others gave."""
    people: dict[str, str] = {}
    for each in addresses:
        try:
            address = plain_address(each)
        except ValueError:
            raise ToolFailure(Untrusted(f"{each!r} is no address that can be answered.")) from None
        if address.casefold() != (card.own_address or "").casefold():
            people[address] = ""
    if not people:
        raise ToolFailure("The mail names nobody to answer.")
    if is_cut or len(people) > _MOST_PEOPLE:
        raise ToolFailure(f"That would go to more than {_MOST_PEOPLE} people; answer the sender alone.")
    return people


def _references(headers: Headers) -> str:
    answered = headers.message_ids("Message-ID")[:1]
    before = [each for each in headers.message_ids("References") if each not in answered]
    chain = [*before[-_REFERENCES:], *answered]
    lines = [f"In-Reply-To: {answered[0]}\r\n"] if answered else []
    return "".join([*lines, f"References: {(chr(13) + chr(10) + ' ').join(chain)}\r\n"] if chain else lines)


def _sender(card: InboxCard) -> str:
    if card.own_address is None:
        raise ToolFailure("Whose reply that is, is not known; set address in [tools.inbox] of twobrain.toml.")
    return card.own_address


def _preview(here: Here, mail: str, body: str, to_all: bool = False) -> str:
    with open_mailbox(here.settings, here.user) as box:
        sender, folder = _sender(box.card), box.drafts
        people, subject, _, answered = _reply_to(box, MailId.parse(mail), to_all=to_all)
    lines = (
        f"Save a draft in {visible(folder)}; it is not sent",
        f"In answer to: {answered}",
        f"From: {sender}",
        f"To: {', '.join(people)}",
        f"Subject: {subject}",
    )
    return "\n".join([*lines, "", body])


def _digest(mail: bytes) -> str:
    return sha256(mail.replace(b"\r\n", b"\n").strip()).hexdigest()


def _save(here: Here, mail: MailId, body: str, *, to_all: bool) -> str:
    with open_mailbox(here.settings, here.user) as box:
        sender, folder = _sender(box.card), box.drafts
        people, subject, lines, _ = _reply_to(box, mail, to_all=to_all)
        name, draft = compose(here.idempotency_key, sender, people, subject, body, lines)
        what = f"to {', '.join(people)}, {subject!r}, in {visible(folder)}"
        box.select(folder)
        if box.find(name):  # an earlier run of this call
            return Untrusted(f"The draft is there already: {what}.")
        record = {"folder": folder, "name": name, "digest": _digest(draft), "size": len(draft), "what": what}
        here.log_undo(record)
        box.append(folder, draft)
    return Untrusted(f"Saved a draft {what}. It was not sent.")


def _as_left(box: Mailbox, record: dict[str, Any]) -> int:
    """Return the UID of a draft that is as it was saved."""
    box.select(record["folder"], readonly=False)
    found = box.find(record["name"])
    if not found:
        raise ToolFailure(f"The draft is not there any more: {record['what']}.")
    if len(found) > 1 or _digest(box.fetch(found[0], "", record["size"] * 2)) != record["digest"]:
        raise ToolFailure(f"The draft has been changed since, so it stays as it is: {record['what']}.")
    return found[0]


def _preview_undo(here: Here, record: dict[str, Any]) -> str:
    with open_mailbox(here.settings, here.user) as box:
        _as_left(box, record)
    return f"Delete the draft {visible(record['what'])}"


def _undo(here: Here, record: dict[str, Any]) -> str:
    with open_mailbox(here.settings, here.user) as box:
        uid = _as_left(box, record)
        try:
            is_gone = box.delete(uid)
        except OSError:
            raise OutcomeUnknown("The connection broke before the server had confirmed that.") from None
    how = "Deleted" if is_gone else "Marked as deleted (the server cannot delete a single mail)"
    return f"{how}: the draft {record['what']}."


def _is_undone(here: Here, record: dict[str, Any]) -> bool | None:
    with open_mailbox(here.settings, here.user) as box:
        box.select(record["folder"])
        return None if box.find(record["name"]) else True


# Named after the call, a draft that is saved again after a crash is still one.
@tool(
    effect="write",
    idempotent=True,
    preview=_preview,
    undo=Undo(_preview_undo, _undo, _is_undone),
    missing=missing,
    kind=Kind("Drafts of replies", {"mail": "any"}),
)
async def draft_reply(here: Here, mail: Mail, body: Body, to_all: ToAll = False) -> str:
    """Save a draft of a reply among the person's drafts, for them to look at and send."""
    if is_blank(body):
        raise ToolFailure("The reply is empty.")
    return await in_thread(partial(_save, here, MailId.parse(mail), body, to_all=to_all))


TOOLS = (draft_reply,)
