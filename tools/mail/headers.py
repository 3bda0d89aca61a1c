"""A mail's headers, and whether its sender is certain."""

import re
from binascii import Error as NotBase64Error
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from email.errors import HeaderParseError
from email.header import decode_header
from email.message import Message
from email.parser import BytesParser
from email.policy import compat32
from email.utils import getaddresses
from typing import Any, NamedTuple

from base.texts import count, one_line, visible
from tools.web.pages import decode

_LONGEST_HEADER = 2_000
"""Characters of a header that are read."""
_RECIPIENTS = 5
"""Recipients that are told one by one."""
_RECIPIENT = re.compile(r'(?:"[^"]*"|[^,;"]|")+')
_MESSAGE_ID = re.compile(r"<[!-;=?-~]{1,500}>")
_ADDRESS = re.compile(r"[^\s@<>]+@[^\s@<>]+")
_UNDECIDED = {"pass", "none", "bestguesspass"}
"""Results of DMARC that leave a sender possible; `bestguesspass` is Microsoft's, where there is no policy."""


@dataclass(frozen=True, slots=True)
class Correspondent:
    """Somebody in a header, as it was written."""

    name: str
    address: str
    """With the host in small letters."""

    def __str__(self) -> str:
        return f'"{self.name}" <{self.address}>' if self.name else self.address

    @property
    def domain(self) -> str:
        """What stands behind the @."""
        return self.address.rpartition("@")[2]


class SenderCheck(NamedTuple):
    """What the person's own mail server found out about a sender."""

    passed: bool | None
    """None: it found out nothing."""
    words: str


@dataclass(frozen=True, slots=True)
class Headers:
    """The headers of one mail that were read."""

    message: Message
    is_cut: bool = False
    """They were longer than what was read of them."""

    @classmethod
    def parse(cls, raw: bytes, most: int) -> "Headers":
        """Read headers of which a server sent at most so many bytes."""
        return cls(BytesParser(policy=compat32).parsebytes(raw, headersonly=True), len(raw) >= most)

    def text(self, name: str) -> str:
        """Return a header as one line; empty: there is none."""
        values = self._raw(name)
        return visible(one_line(decoded_words(values[0]), _LONGEST_HEADER)) if values else ""

    def people(self, name: str) -> list[Correspondent]:
        """Return who is named in the headers of a name."""
        joined = [value[:_LONGEST_HEADER] for value in self._raw(name)]
        return list(_correspondents(joined))

    def recipients(self, name: str) -> str:
        """Return the first whom a header names, and count the others."""
        parts = [part for value in self._raw(name) for part in _RECIPIENT.findall(value) if part.strip()]
        shown = [
            str(each) for each in _correspondents(part[:_LONGEST_HEADER] for part in parts[:_RECIPIENTS])
        ]
        more = len(parts) - _RECIPIENTS
        end = f" and {'at least ' if self.is_cut else ''}{count(more, 'other')}" if more > 0 else ""
        return ", ".join(shown) + end

    def message_ids(self, name: str) -> list[str]:
        """Return the ids that a header names."""
        return [each for value in self._raw(name) for each in _MESSAGE_ID.findall(value)]

    def sender(self) -> Correspondent | None:
        """Return the only sender; None: there is none, or more than one."""
        people = self.people("From")
        return people[0] if len(people) == 1 and len(self._raw("From")) == 1 and not self.is_cut else None

    def results(self) -> list[str]:
        """Return what servers have found out about the sender, as written."""
        return [] if self.is_cut else self._raw("Authentication-Results")

    def _raw(self, name: str) -> list[str]:
        return [str(value) for key, value in self.message.raw_items() if key.lower() == name.lower()]


def _correspondents(values: Any) -> Iterator[Correspondent]:
    try:
        found = getaddresses(list(values))
    except (RecursionError, IndexError):  # of comments in comments
        return
    for name, address in found:
        if _ADDRESS.fullmatch(address):
            mailbox, _, host = address.rpartition("@")
            shown = visible(one_line(decoded_words(name), 100)).replace('"', "'")
            yield Correspondent(shown, visible(f"{mailbox}@{host.lower()}"))


def decoded_words(value: str) -> str:
    """Return a header's words, by whatever charset they are in (RFC 2047)."""
    value = value[:_LONGEST_HEADER]
    if not value.isascii():  # as it never should be
        value = decode(value.encode("utf-8", "surrogateescape"), "")
    try:
        parts = decode_header(value)
    except (HeaderParseError, NotBase64Error, ValueError):
        return value
    return "".join(_word(part, charset) for part, charset in parts)


def _word(part: bytes | str, charset: str | None) -> str:
    if isinstance(part, str):
        return part
    return decode(part, f"charset={charset}") if charset else part.decode("raw-unicode-escape", "replace")


def check_sender(
    sender: Correspondent | None, results: Sequence[str], authserv_id: str | None
) -> SenderCheck:
    """Tell what one's own server found out about a sender (RFC 8601).

    Results under any other name may be the sender's own. Of several under that name the worst counts.
    """
    if authserv_id is None:
        return SenderCheck(None, "not checked: whoever sent it wrote that From (no authserv_id is set)")
    if sender is None:
        return SenderCheck(False, "failed: it names no sender, or several")
    found = [each for text in results for each in _results_of(text, authserv_id)]
    if not found:
        return SenderCheck(None, f"not checked by {authserv_id}: whoever sent it wrote that From")
    policies = {each.result for each in found if each.method == "dmarc"} - _UNDECIDED
    if policies:
        return SenderCheck(
            False, f"failed: {authserv_id} found dmarc={min(policies)}; that From may be forged"
        )
    by = next((method for method in _VOUCHED if _vouches(method, found, sender)), None)
    if by is None:
        why = f"{authserv_id} found nothing that shows it is from {sender.domain}"
        return SenderCheck(False, f"failed: {why}; that From may be forged")
    return SenderCheck(True, f"passed: {authserv_id} found that it is from {sender.domain} ({by}=pass)")


def _vouches(method: str, found: Sequence["_Result"], sender: Correspondent) -> bool:
    """Tell whether a method shows where a mail is from.

    Of several signatures (DKIM) one is enough; of other results all have to say so.
    """
    mine = [each.result == "pass" and each.is_about(sender.domain) for each in found if each.method == method]
    return any(mine) if method == "dkim" else bool(mine) and all(mine)


class _Result(NamedTuple):
    method: str
    result: str
    domains: list[str]

    def is_about(self, domain: str) -> bool:
        return any(each and (domain == each or domain.endswith(f".{each}")) for each in self.domains)


_VOUCHED = {"dmarc": {"header.from"}, "dkim": {"header.d", "header.i"}, "spf": {"smtp.mailfrom"}}
"""Which property of a method's result names whom it is about."""


def _results_of(text: str, authserv_id: str) -> Iterator[_Result]:
    """Yield what a server of that name found out."""
    from authres import AuthenticationResultsHeader  # type: ignore[import-untyped]
    from authres.core import AuthResError  # type: ignore[import-untyped]

    try:
        read = AuthenticationResultsHeader.parse(f"Authentication-Results: {' '.join(text.split())}")
    except (AuthResError, RecursionError):
        return
    if read.authserv_id != authserv_id:
        return
    for each in read.results:
        names = _VOUCHED.get(each.method.lower())
        if names:
            domains = [
                str(about.value or "").lower().rpartition("@")[2]
                for about in each.properties
                if f"{about.type}.{about.name}".lower() in names
            ]
            yield _Result(each.method.lower(), each.result.lower(), domains)
