"""The tool send_email: mail over SMTP."""

import re
import ssl
import unicodedata
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from email.header import Header
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import formatdate
from fnmatch import fnmatchcase
from hashlib import sha256
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, Field

from base.settings import LoginCard, Settings
from base.texts import unseen_in
from base.worker_threads import in_thread
from tools.declaration import Here, Kind, OutcomeUnknown, ToolFailure, Untrusted, tool

if TYPE_CHECKING:
    import aiosmtplib

_TIMEOUT_S = 20
"""For each answer of the server."""
_ADDRESS = r"[^\s@<>()\[\],;:\"\\\x00-\x1f\x7f-\x9f\ud800-\udfff]+@[A-Za-z0-9.-]+"
_NO_ADDRESS = "not a plain address such as ada@example.com"
_NAMED = re.compile(r'(?:([^<>"@\n\t]*)|"([^<>"@\\\n\t]+)") *<([^<>]+)>')
"""`Ada Byron <ada@example.com>`, as mail programs copy it."""
_DOTS = "[.\u3002\uff0e\uff61]"
"""What parts the names of a host (RFC 3490)."""
_NO_LINE = r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]"
"""What ends or steers a header line, or is half a character."""
_PLAIN_SUBJECT = r"(?!.*=\?)(?=.{1,60}$)[!-~]+( [!-~]+)*"
"""A subject that every mail program shows letter for letter."""
_PORTS = {"starttls": 587, "tls": 465, "none": 25}
_MAY_HAVE_GONE = (
    "The connection broke before the server had confirmed the mail, so it is unknown whether it went out. "
    "Check before you send it again; its Message-ID is {}."
)

Recipients = Annotated[str, "addresses such as ada@example.com or Ada <ada@example.com>, separated by commas"]
Subject = Annotated[str, "one line"]
Body = Annotated[str, "plain text"]


def _in_ascii(address: str) -> str:
    """Return an address or a pattern with its host's A-labels (RFC 5891).

    Raises:
        ValueError: there can be no such host.
    """
    *before, host = unicodedata.normalize("NFC", address).rpartition("@")
    if not host.isascii():
        import idna

        labels = re.split(_DOTS, host)
        host = ".".join(each if each.isascii() else idna.encode(each, uts46=True).decode() for each in labels)
    return "".join([*before, host])


def plain_address(text: str) -> str:
    """Return a plain address as it is sent.

    Raises:
        ValueError: it is none.
    """
    address = _in_ascii(text)
    forms = (address, unicodedata.normalize("NFKC", address))
    if unseen_in(address) or not all(re.fullmatch(_ADDRESS, form) for form in forms):
        raise ValueError(_NO_ADDRESS)
    return address


def _pattern(text: str) -> str:
    return _in_ascii(text).casefold()


class MailCard(LoginCard):
    """The `[tools.send_email]` table."""

    host: str = Field(min_length=1)
    """The SMTP server that takes outgoing mail."""
    port: int | None = Field(default=None, ge=1, le=65_535)
    """None: 587 for starttls, 465 for tls, 25 for none."""
    security: Literal["starttls", "tls", "none"] = "starttls"
    """How the connection is encrypted; a server that cannot do it gets nothing."""
    sender: Annotated[str, AfterValidator(plain_address)] = Field(alias="from")
    """Address that mail is sent from."""
    allow_recipients: tuple[Annotated[str, AfterValidator(_pattern)], ...] = ()
    """Patterns such as `*@example.com`; nobody else is written to. Empty: anybody may be."""


def _missing(settings: Settings) -> str | None:
    card = settings.read_table(("tools", "send_email"), MailCard)
    if card is None:
        return "set host and from in [tools.send_email] of twobrain.toml"
    return card.missing(settings, "mail server")


def _preview(here: Here, to: str, subject: str, body: str) -> str:
    card = _required(here)
    people, subject = ", ".join(map(str, _named(_recipients(to, card)))), _one_line(subject)
    return f"Send a mail from {card.sender}\nTo: {people}\nSubject: {subject}\n\n{body}"


def _canonical(args: dict[str, Any]) -> dict[str, Any]:
    """Return the recipients as a set; in practice case tells none apart."""
    plain = (each.rpartition("<")[2].rstrip(">. ") for each in _listed(args["to"]))
    return {**args, "to": sorted({_compared(each) for each in plain})}


def _compared(address: str) -> str:
    with suppress(ValueError):
        address = _in_ascii(address).rstrip(".")
    return address.casefold()


@tool(
    effect="send",
    preview=_preview,
    missing=_missing,
    canonical=_canonical,
    kind=Kind("Mails to {to}", {"to": "same"}),
)
async def send_email(here: Here, to: Recipients, subject: Subject, body: Body) -> str:
    """Send a mail."""
    card = _required(here)
    people = _recipients(to, card)
    name, mail = compose(here.idempotency_key, card.sender, people, _one_line(subject), body)
    async with open_server(here.settings, card) as server:
        refused = await _deliver(server, card, people, name, mail)
    accepted = ", ".join(each for each in people if each not in refused)
    told = f"Sent to {accepted} (Message-ID {name})."
    return Untrusted(f"{told} Not sent to {_words(refused)}.") if refused else told


def _required(here: Here) -> MailCard:
    card = here.settings.read_table(("tools", "send_email"), MailCard)
    if card is None:
        raise ToolFailure("Mail is not configured.")
    return card


def _recipients(to: str, card: MailCard) -> dict[str, str]:
    """Return the plain addresses as sent, each once, with its name.

    The name is empty where there is none.
    """
    people: dict[str, str] = {}
    for each in _listed(to):
        named = _NAMED.fullmatch(each)
        name = ((named[1] or named[2] or "") if named else "").strip()
        try:
            person = plain_address(named[3].strip() if named else each)
        except ValueError:
            why = f"{_NO_ADDRESS}; a host is named by its name" if "[" in each else _NO_ADDRESS
            raise ToolFailure(f"{each!r} is {why}.") from None
        if unseen_in(name) or re.search(r"@|=\?", unicodedata.normalize("NFKC", name)):
            raise ToolFailure(f"The name in {each!r} would pass for an address, or be read as another name.")
        patterns = card.allow_recipients
        if patterns and not any(fnmatchcase(person.casefold(), p) for p in patterns):
            allowed = ", ".join(patterns)
            raise ToolFailure(f"{person} may not be written to; allow_recipients has {allowed}.")
        people.setdefault(person, name)
    if not people:
        raise ToolFailure("There is no recipient.")
    return people


def _named(people: Mapping[str, str]) -> list[Address]:
    """Return recipients as they stand in the header."""
    parts = ((name, *person.rsplit("@", 1)) for person, name in people.items())
    return [Address(name, user, host) for name, user, host in parts]


def _listed(to: str) -> list[str]:
    """Return what commas part, but for those in a quoted name."""
    return [part.strip(" ") for part in re.findall(r'(?:"[^"]*"|[^,;"]|")+', to) if part.strip(" ")]


def _one_line(subject: str) -> str:
    if re.search(_NO_LINE, subject):
        raise ToolFailure("The subject must be one line without control characters.")
    return subject


def compose(  # noqa: PLR0913, PLR0917 (what makes a mail)
    key: str, sender: str, people: Mapping[str, str], subject: str, body: str, lines: str = ""
) -> tuple[str, bytes]:
    """Return a mail with its Message-ID.

    The id is the same for the same idempotency key, so that whoever looks for it can tell a repeat. `lines`
    are more of the headers.
    """
    from email.policy import SMTP

    message = EmailMessage(policy=SMTP.clone(utf8=_beyond_ascii(sender, people) is not None))
    message["From"], message["To"] = sender, _named(people)
    message["Date"] = formatdate(localtime=True)
    name = f"<{sha256(key.encode()).hexdigest()[:32]}@{sender.rpartition('@')[2]}>"
    message["Message-ID"] = name
    message.set_content(body)
    if not re.fullmatch(_PLAIN_SUBJECT, subject):
        # A message would read encoded words in it, and lose blanks where it folds.
        subject = Header(subject, "utf-8", header_name="Subject").encode(linesep="\r\n")
    return name, f"Subject: {subject}\r\n{lines}".encode() + message.as_bytes()


def _beyond_ascii(sender: str, people: Iterable[str]) -> str | None:
    return next((each for each in (sender, *people) if not each.isascii()), None)


@asynccontextmanager
async def open_server(settings: Settings, card: MailCard) -> AsyncIterator["aiosmtplib.SMTP"]:
    """Connect to the SMTP server and log in.

    Raises:
        ToolFailure: it cannot be used, or refuses what it is sent.
    """
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
    is_over = False
    try:
        async with server:
            yield server
            is_over = True  # what goes wrong in parting undoes nothing
    except aiosmtplib.SMTPAuthenticationError as error:
        why = f"{card.host} refused the login of {card.user!r}: {_said(error)}."
        raise ToolFailure(Untrusted(why)) from None
    except aiosmtplib.SMTPResponseException as error:
        why = f"{card.host} refused the mail: {_said(error)}. Nothing was sent."
        raise ToolFailure(Untrusted(why)) from None
    except (aiosmtplib.SMTPException, OSError) as error:
        if not is_over:
            why = f"Nothing was sent, for {card.host} cannot be used: {error}"
            raise ToolFailure(Untrusted(why)) from None


async def _deliver(
    server: "aiosmtplib.SMTP", card: MailCard, people: Collection[str], name: str, mail: bytes
) -> dict[str, str]:
    """Hand the mail over; return whom the server refused, and why."""
    import aiosmtplib

    refused: dict[str, str] = {}
    options = []
    if special := _beyond_ascii(card.sender, people):
        await server.ehlo()
        if not server.supports_extension("smtputf8"):
            why = f"{special} has other letters than ASCII's before the @"
            raise ToolFailure(f"Nothing was sent: {why}, which {card.host} does not take (no SMTPUTF8).")
        options = ["SMTPUTF8"]
    await server.mail(card.sender, options=options, encoding="utf-8")
    for each in people:
        try:
            await server.rcpt(each, encoding="utf-8")
        except aiosmtplib.SMTPRecipientRefused as error:
            refused[each] = _said(error)
    if len(refused) == len(people):
        why = f"Nothing was sent: {card.host} refused every recipient: {_words(refused)}."
        raise ToolFailure(Untrusted(why))
    try:
        await server.data(mail)
    except (aiosmtplib.SMTPServerDisconnected, aiosmtplib.SMTPTimeoutError, OSError):
        raise OutcomeUnknown(_MAY_HAVE_GONE.format(name)) from None
    return refused


def _said(error: "aiosmtplib.SMTPResponseException") -> str:
    return f"{error.code} {' '.join(error.message.split())[:200]}".rstrip(".")


def _words(refused: dict[str, str]) -> str:
    return "; ".join(f"{person} ({why})" for person, why in refused.items())


TOOLS = (send_email,)
