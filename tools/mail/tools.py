"""Mail over SMTP."""

import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.message import EmailMessage
from email.utils import formatdate
from fnmatch import fnmatchcase
from hashlib import sha256
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from base.settings import LoginCard, Settings
from base.worker_threads import in_thread
from tools.declaration import Here, ToolFailure, Untrusted, tool

if TYPE_CHECKING:
    import aiosmtplib

_TIMEOUT_S = 20
"""For each answer of the server."""
_ADDRESS = r"[^\s@<>()\[\],;:\"\\\x00-\x1f\x80-\U0010ffff]+@[A-Za-z0-9.-]+"
_PORTS = {"starttls": 587, "tls": 465, "none": 25}
_UNKNOWN = (
    "The connection broke before the server had confirmed the mail, so it is unknown whether it went out. "
    "Check before you send it again; its Message-ID is {}."
)

Recipients = Annotated[str, "addresses such as ada@example.com, separated by commas"]
Subject = Annotated[str, "one line"]
Body = Annotated[str, "plain text"]


class MailCard(LoginCard):
    """The `[tools.send_email]` table."""

    host: str = Field(min_length=1)
    """The SMTP server that takes outgoing mail."""
    port: int | None = Field(default=None, ge=1, le=65_535)
    """None: 587 for starttls, 465 for tls, 25 for none."""
    security: Literal["starttls", "tls", "none"] = "starttls"
    """How the connection is encrypted; a server that cannot do it gets nothing."""
    sender: str = Field(alias="from", pattern=f"^{_ADDRESS}$")
    """Address that mail is sent from."""
    allow_recipients: tuple[str, ...] = ()
    """Patterns such as `*@example.com`; nobody else is written to. Empty: anybody may be."""


def _missing(settings: Settings) -> str | None:
    card = settings.read_table(("tools", "send_email"), MailCard)
    if card is None:
        return "set host and from in [tools.send_email] of twobrain.toml"
    return card.missing(settings, "mail server")


def _preview(here: Here, to: str, subject: str, body: str) -> str:
    card = _required(here)
    people, subject = ", ".join(_recipients(to, card)), _one_line(subject)
    return f"Send a mail from {card.sender}\nTo: {people}\nSubject: {subject}\n\n{body}"


@tool(effect="send", preview=_preview, missing=_missing)
async def send_email(here: Here, to: Recipients, subject: Subject, body: Body) -> str:
    """Send a mail."""
    card = _required(here)
    people = _recipients(to, card)
    message = _message(here, card, people, _one_line(subject), body)
    async with _server(here.settings, card) as server:
        refused = await _deliver(server, card, people, message)
    accepted = ", ".join(each for each in people if each not in refused)
    told = f"Sent to {accepted} (Message-ID {message['Message-ID']})."
    return Untrusted(f"{told} Not sent to {_words(refused)}.") if refused else told


def _required(here: Here) -> MailCard:
    card = here.settings.read_table(("tools", "send_email"), MailCard)
    if card is None:
        raise ToolFailure("Mail is not configured.")
    return card


def _recipients(to: str, card: MailCard) -> list[str]:
    """Return the plain addresses, each once; a second header is refused."""
    people = [each.strip(" ") for each in re.split("[,;]", to) if each.strip(" ")]
    if not people:
        raise ToolFailure("There is no recipient.")
    for each in people:
        if not re.fullmatch(_ADDRESS, each):
            raise ToolFailure(f"{each!r} is not a plain address such as ada@example.com.")
        patterns = card.allow_recipients
        if patterns and not any(fnmatchcase(each.casefold(), p.casefold()) for p in patterns):
            allowed = ", ".join(patterns)
            raise ToolFailure(f"{each} may not be written to; allow_recipients has {allowed}.")
    return list(dict.fromkeys(people))


def _one_line(subject: str) -> str:
    if not subject.isprintable():
        raise ToolFailure("The subject must be one line without control characters.")
    return subject


def _message(here: Here, card: MailCard, people: list[str], subject: str, body: str) -> EmailMessage:
    from email.policy import SMTP

    message = EmailMessage(policy=SMTP)
    message["From"], message["To"], message["Subject"] = card.sender, ", ".join(people), subject
    message["Date"] = formatdate(localtime=True)
    # The same for the same call, so that whoever looks for it can tell a repeat.
    name = sha256(here.idempotency_key.encode()).hexdigest()[:32]
    message["Message-ID"] = f"<{name}@{card.sender.rpartition('@')[2]}>"
    message.set_content(body)
    return message


@asynccontextmanager
async def _server(settings: Settings, card: MailCard) -> AsyncIterator["aiosmtplib.SMTP"]:
    import aiosmtplib

    server = aiosmtplib.SMTP(
        hostname=card.host,
        port=card.port or _PORTS[card.security],
        use_tls=card.security == "tls",
        start_tls=card.security == "starttls",
        tls_context=None if card.security == "none" else await in_thread(ssl.create_default_context),
        username=card.user,
        password=settings.secret(card.password_env) if card.password_env else None,
        local_hostname=card.sender.rpartition("@")[2],
        timeout=_TIMEOUT_S,
    )
    try:
        async with server:
            yield server
    except aiosmtplib.SMTPAuthenticationError as error:
        why = f"{card.host} refused the login of {card.user!r}: {_said(error)}."
        raise ToolFailure(Untrusted(why)) from None
    except aiosmtplib.SMTPResponseException as error:
        why = f"{card.host} refused the mail: {_said(error)}. Nothing was sent."
        raise ToolFailure(Untrusted(why)) from None
    except (aiosmtplib.SMTPException, OSError) as error:
        why = f"Nothing was sent, for {card.host} cannot be used: {error}"
        raise ToolFailure(Untrusted(why)) from None


async def _deliver(
    server: "aiosmtplib.SMTP", card: MailCard, people: list[str], message: EmailMessage
) -> dict[str, str]:
    """Hand the mail over; return whom the server refused, and why."""
    import aiosmtplib

    refused: dict[str, str] = {}
    await server.mail(card.sender)
    for each in people:
        try:
            await server.rcpt(each)
        except aiosmtplib.SMTPRecipientRefused as error:
            refused[each] = _said(error)
    if len(refused) == len(people):
        why = f"Nothing was sent: {card.host} refused every recipient: {_words(refused)}."
        raise ToolFailure(Untrusted(why))
    try:
        await server.data(message.as_bytes())
    except (aiosmtplib.SMTPServerDisconnected, aiosmtplib.SMTPTimeoutError):
        raise ToolFailure(_UNKNOWN.format(message["Message-ID"])) from None
    return refused


def _said(error: "aiosmtplib.SMTPResponseException") -> str:
    return f"{error.code} {' '.join(error.message.split())[:200]}".rstrip(".")


def _words(refused: dict[str, str]) -> str:
    return "; ".join(f"{person} ({why})" for person, why in refused.items())


TOOLS = (send_email,)
