"""The `[tools.inbox.NAME]` tables: whose mailbox, and which mails start turns."""

import re
from fnmatch import fnmatchcase
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from base.settings import Card, LoginCard, Settings
from tools.mail.headers import Headers, SenderCheck
from tools.mail.tools import plain_address


class MailRule(Card):
    """One `[[tools.inbox.NAME.rules]]` table: mails that start a turn."""

    name: str = Field(min_length=1, max_length=100)
    """What the rule is called, in lists and records."""
    task: str = Field(min_length=1, max_length=20_000)
    """What is to be done; the mail is attached to it."""
    sender: str | None = Field(default=None, alias="from", min_length=1)
    """Pattern of the sender's address, such as `*@school.example`; None: anybody."""
    subject: str | None = Field(default=None, min_length=1)
    """Pattern of the subject, such as `*invoice*`, whatever its case; None: any."""
    recipient: str | None = Field(default=None, alias="to", min_length=1)
    """Pattern of an address among To and Cc; None: any."""
    allow_unauthenticated: bool = False
    """True: a sender counts whom nobody has checked, so that anybody can write that From."""
    per_hour: int = Field(default=20, ge=1, le=1_000)
    """Turns that mails start in an hour; those that come after it start none."""

    def matches(self, headers: Headers, recipients: Headers, check: SenderCheck) -> bool:
        """Tell whether a mail is meant, never by a failed sender."""
        sender = headers.sender()
        is_certain = check.passed or (self.allow_unauthenticated and check.passed is None)
        address = sender.address if sender and is_certain else ""
        named = [each.address for name in ("To", "Cc") for each in recipients.people(name)]
        return (
            (self.sender is None or (address != "" and _fits(address, self.sender)))
            and (self.subject is None or _fits(headers.text("Subject"), self.subject))
            and (self.recipient is None or any(_fits(each, self.recipient) for each in named))
        )


def _fits(text: str, pattern: str) -> bool:
    return fnmatchcase(text.casefold(), pattern.casefold())


def _is_label(name: str) -> str:
    if not re.fullmatch(r"[\w.-]+", name):
        raise ValueError("an authserv-id is a name such as mx.example.com")
    return name.lower()


class InboxCard(LoginCard):
    """One `[tools.inbox.NAME]` table: a user's mailbox, which nobody else reads."""

    host: str = Field(min_length=1)
    """The IMAP server."""
    port: int | None = Field(default=None, ge=1, le=65_535)
    """None: 993 for tls, 143 for the others."""
    security: Literal["tls", "starttls", "none"] = "tls"
    """How the connection is encrypted; a server that cannot do it gets nothing."""
    address: Annotated[str, AfterValidator(plain_address)] | None = None
    """The person's own, which drafts are from; None: user, where that is one."""
    drafts: str | None = None
    """Folder of drafts; None: the one that the server names."""
    authserv_id: Annotated[str, AfterValidator(_is_label)] | None = None
    """By which the person's own mail server signs its Authentication-Results; None: no sender is checked."""
    rules: tuple[MailRule, ...] = ()
    """Mails that start a turn."""

    @model_validator(mode="after")
    def _names_whose_it_is(self) -> Self:
        if self.user is None:
            raise ValueError("user and password_env are needed: they say which mailbox it is")
        return self

    @model_validator(mode="after")
    def _checks_whom_it_goes_by(self) -> Self:
        for rule in self.rules:
            if rule.sender and not (self.authserv_id or rule.allow_unauthenticated):
                raise ValueError(
                    f"rule {rule.name!r} goes by From, which anybody can write: set authserv_id, "
                    "or allow_unauthenticated in the rule"
                )
        if len({rule.name for rule in self.rules}) < len(self.rules):
            raise ValueError("two rules bear one name")
        return self

    @property
    def own_address(self) -> str | None:
        """The person's address; None where it is not known."""
        return self.address or (self.user if self.user and "@" in self.user else None)


def cards(settings: Settings) -> dict[str, InboxCard]:
    """Return each user's mailbox.

    Raises:
        ConfigurationError: a table is not as it should be.
    """
    found = {
        user: settings.read_table(("tools", "inbox", user), InboxCard)
        for user in settings.tools.get("inbox", {})
    }
    return {user: card for user, card in found.items() if card}
