"""An IMAP server on loopback whose mails, sizes and faults a test decides."""

import asyncio
import re
import shlex
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email import message_from_bytes
from email.message import Message
from email.policy import compat32
from email.utils import format_datetime

WHEN = datetime(2026, 11, 20, 14, 30, tzinfo=UTC)
_LITERAL = re.compile(rb"\{(\d+)\+?\}\r\n$")
_ITEM = re.compile(r"BODY\.PEEK\[([^\]]*)\]<0\.(\d+)>|FLAGS|INTERNALDATE|RFC822\.SIZE|BODYSTRUCTURE")


@dataclass
class Stored:
    uid: int
    content: bytes
    flags: set[str] = field(default_factory=set)
    sizes: dict[str, int] = field(default_factory=dict)
    """Section to bytes that it has, whatever is in `content`: what is asked for beyond that is made up."""
    broken: bool = False
    """Its structure is of more than a client reads."""

    @property
    def message(self) -> Message:
        return message_from_bytes(self.content, policy=compat32)

    def section(self, name: str) -> bytes:
        if not name:
            return self.content
        if name.startswith("HEADER.FIELDS"):
            wanted = set(re.findall(r"[A-Z-]+", name.partition("(")[2]))
            head = self.content.replace(b"\r\n", b"\n").partition(b"\n\n")[0] + b"\n"
            fields = re.findall(rb"(?m)^[!-9;-~]+:.*\n(?:[ \t].*\n)*", head)
            kept = [each for each in fields if each.partition(b":")[0].decode().upper() in wanted]
            return b"".join(kept).replace(b"\n", b"\r\n") + b"\r\n"
        part = self.message
        for number in name.split("."):
            part = part.get_payload(int(number) - 1) if part.is_multipart() else part
        payload = part.get_payload()
        whole = payload[0].as_bytes() if isinstance(payload, list) else part.as_bytes()
        return whole if isinstance(payload, list) else whole.partition(b"\n\n")[2]

    def fetched(self, name: str, most: int) -> bytes:
        text = self.section(name)[:most]
        return text.ljust(min(most, self.sizes.get(name, 0)), b"x")


@dataclass
class Folder:
    validity: int = 1_700_000_000
    mails: list[Stored] = field(default_factory=list)
    following: int = 1

    def add(self, content: bytes, *flags: str, **sizes: int) -> Stored:
        mail = Stored(
            self.following, content, set(flags), {f"{name[1:]}": size for name, size in sizes.items()}
        )
        self.following += 1
        self.mails.append(mail)
        return mail


@dataclass
class ImapServer:
    """One person's mailbox: ada, with the password swordfish."""

    port: int = 0
    folders: dict[str, Folder] = field(default_factory=lambda: {"INBOX": Folder(), "Drafts": Folder()})
    capabilities: str = "IMAP4rev1 UIDPLUS IDLE LITERAL+ SPECIAL-USE"
    commands: list[str] = field(default_factory=list)
    tls: ssl.SSLContext | None = None
    sent: int = 0
    """Bytes that went to clients."""
    faults: dict[str, str] = field(default_factory=dict)
    """Command to what the server does instead of answering: `before` or `after` it, it hangs up."""
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    idling: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once a client waits for mail, or tried to."""

    @property
    def inbox(self) -> Folder:
        return self.folders["INBOX"]

    @property
    def table(self) -> str:
        return (
            f'host = "127.0.0.1"\nport = {self.port}\nsecurity = "none"\nuser = "ada"\n'
            'password_env = "MAIL_PASSWORD"\naddress = "ada@home.example"\n'
        )

    def arrive(self, content: bytes, *flags: str, **sizes: int) -> Stored:
        mail = self.inbox.add(content, *flags, **sizes)
        self.changed.set()
        return mail

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session = _Session(self, reader, writer)
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await session.run()
        writer.close()


class _Session:
    def __init__(
        self, server: ImapServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.server, self.reader, self.writer = server, reader, writer
        self.folder = Folder()

    def say(self, *lines: str | bytes) -> None:
        for line in lines:
            data = (line if isinstance(line, bytes) else line.encode()) + b"\r\n"
            self.server.sent += len(data)
            self.writer.write(data)

    async def run(self) -> None:
        self.say(f"* OK [CAPABILITY {self.server.capabilities.replace('UIDPLUS ', '')}] ready")
        while line := await self._line():
            tag, command, rest = (*line.split(" ", 2), "")[:3]
            if command.upper() == "UID":
                command, _, rest = rest.partition(" ")
            self.server.commands.append(f"{command} {rest}".strip())
            if command.upper() in {"IDLE", "NOOP"}:
                self.server.idling.set()
            fault = self.server.faults.get(command.upper())
            if fault == "before":
                return
            answer = getattr(self, f"do_{command.lower()}", None)
            verdict = "BAD unknown" if answer is None else await answer(rest)
            if fault == "after":
                return
            self.say(f"{tag} {verdict}")
            await self.writer.drain()
            if command.upper() == "STARTTLS" and self.server.tls:
                await self.writer.start_tls(self.server.tls)
            if command.upper() == "LOGOUT":
                return

    async def _line(self) -> str:
        """Return a command with its literals as quoted strings."""
        line = await self.reader.readline()
        while found := _LITERAL.search(line):
            if b"+}" not in found[0]:
                self.say("+ go on")
            literal = await self.reader.readexactly(int(found[1]))
            quoted = literal.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
            line = line[: found.start()] + b'"' + quoted + b'"' + await self.reader.readline()
        return line.decode("utf-8", "surrogateescape").strip()

    async def do_capability(self, rest: str) -> str:
        self.say(f"* CAPABILITY {self.server.capabilities}")
        return "OK done"

    async def do_login(self, rest: str) -> str:
        right = shlex.split(rest) == ["ada", "swordfish"]
        return (
            f"OK [CAPABILITY {self.server.capabilities}] in" if right else "NO [AUTHENTICATIONFAILED] wrong"
        )

    async def do_starttls(self, rest: str) -> str:
        return "OK begin" if self.server.tls else "BAD no"

    async def do_logout(self, rest: str) -> str:
        self.say("* BYE")
        return "OK bye"

    async def do_noop(self, rest: str) -> str:
        return "OK done"

    async def do_list(self, rest: str) -> str:
        for name in self.server.folders:
            self.say(f'* LIST ({chr(92)}{"Drafts" if name == "Drafts" else "HasNoChildren"}) "/" "{name}"')
        return "OK done"

    async def do_select(self, rest: str) -> str:
        name = shlex.split(rest)[0]
        if name not in self.server.folders:
            return "NO there is none"
        self.folder = self.server.folders[name]
        self.say(f"* {len(self.folder.mails)} EXISTS", "* 0 RECENT", "* FLAGS ()")
        self.say(
            f"* OK [UIDVALIDITY {self.folder.validity}] valid", f"* OK [UIDNEXT {self.folder.following}] next"
        )
        return "OK done"

    do_examine = do_select

    async def do_search(self, rest: str) -> str:
        if re.search(r"[(){%*]", re.sub(r'"(?:[^"\\]|\\.)*"', "", rest)):
            return "BAD syntax"
        words = shlex.split(rest)
        if words[0] == "CHARSET":
            words = words[2:]
        found = [mail for place, mail in enumerate(self.folder.mails, 1) if _matches(mail, place, words)]
        self.say(" ".join(["* SEARCH", *(str(mail.uid) for mail in found)]))
        return "OK done"

    async def do_fetch(self, rest: str) -> str:
        numbers, _, items = rest.partition(" ")
        for place, mail in enumerate(self.folder.mails, 1):
            if str(mail.uid) not in numbers.split(","):
                continue
            parts = [f"UID {mail.uid}".encode(), *(_item(mail, found) for found in _ITEM.finditer(items))]
            self.say(f"* {place} FETCH (".encode() + b" ".join(parts) + b")")
        return "OK done"

    async def do_append(self, rest: str) -> str:
        name, flags, content = re.fullmatch(r'"?([^" ]+)"? \(([^)]*)\) "(.*)"', rest, re.DOTALL).groups()
        content = content.replace('\\"', '"').replace("\\\\", "\\")
        folder = self.server.folders[name]
        mail = folder.add(content.encode("utf-8", "surrogateescape"), *flags.split())
        return f"OK [APPENDUID {folder.validity} {mail.uid}] done"

    async def do_store(self, rest: str) -> str:
        number, _, flags = rest.split(" ", 2)
        for mail in self.folder.mails:
            if str(mail.uid) == number:
                mail.flags |= set(flags.strip("()").split())
        return "OK done"

    async def do_expunge(self, rest: str) -> str:
        self.folder.mails = [each for each in self.folder.mails if str(each.uid) != rest]
        return "OK done"

    async def do_idle(self, rest: str) -> str:
        self.say("+ idling")
        done = asyncio.ensure_future(self.reader.readline())
        while not done.done():
            changed = asyncio.ensure_future(self.server.changed.wait())
            await asyncio.wait({done, changed}, return_when=asyncio.FIRST_COMPLETED)
            if self.server.changed.is_set():
                self.server.changed.clear()
                self.say(f"* {len(self.folder.mails)} EXISTS")
            changed.cancel()
        return "OK done"


def _matches(mail: Stored, place: int, words: list[str]) -> bool:
    rest, fits = list(words), True
    while rest and fits:
        word = rest.pop(0)
        if re.fullmatch(r"\d+:\d+", word):
            fits = _within(place, word)
        elif word == "UID":
            fits = _within(mail.uid, rest.pop(0))
        elif word == "UNSEEN":
            fits = "\\Seen" not in mail.flags
        elif word == "TEXT":
            fits = rest.pop(0).lower().encode() in mail.content.lower()
        elif word != "ALL":
            field = mail.section(f"HEADER.FIELDS ({(rest.pop(0) if word == 'HEADER' else word).upper()})")
            fits = rest.pop(0).lower() in field.decode("utf-8", "replace").lower()
    return fits


def _within(number: int, span: str) -> bool:
    first, _, last = span.partition(":")
    return int(first) <= number <= (1 << 32 if last == "*" else int(last or first))


def _item(mail: Stored, found: re.Match[str]) -> bytes:
    match found[0]:
        case "FLAGS":
            return f"FLAGS ({' '.join(mail.flags)})".encode()
        case "INTERNALDATE":
            return f'INTERNALDATE "{WHEN:%d-%b-%Y %H:%M:%S} +0000"'.encode()
        case "RFC822.SIZE":
            return f"RFC822.SIZE {mail.sizes.get('', len(mail.content))}".encode()
        case "BODYSTRUCTURE":
            structure = "(" * 1_000_001 if mail.broken else _structure(mail, mail.message, "")
            return f"BODYSTRUCTURE {structure}".encode("utf-8", "surrogateescape")
    text = mail.fetched(found[1], int(found[2]))
    return f"BODY[{found[1]}]<0> {{{len(text)}}}\r\n".encode() + text


def _structure(mail: Stored, part: Message, number: str) -> str:
    if part.get_content_maintype() == "multipart":
        children = enumerate(part.get_payload(), 1)
        inner = "".join(_structure(mail, each, f"{number}{place}.") for place, each in children)
        return f'({inner} "{part.get_content_subtype().upper()}" NIL NIL NIL)'
    number = number.rstrip(".") or "1"
    size = mail.sizes.get(number, len(mail.section(number)))
    encoding = part.get("Content-Transfer-Encoding", "7BIT").strip()
    kind = f'"{part.get_content_maintype().upper()}" "{part.get_content_subtype().upper()}"'
    basic = f'{kind} {_params(part, "Content-Type")} NIL NIL "{encoding}" {size}'
    given = str(part.get("Content-Disposition", "")).partition(";")[0].strip()
    disposition = f'("{given}" {_params(part, "Content-Disposition")})' if given else "NIL"
    more = {"text": " 1", "message": " NIL NIL 1"}.get(part.get_content_maintype(), "")
    return f"({basic}{more} NIL {disposition} NIL NIL)"


def _params(part: Message, header: str) -> str:
    raw = re.findall(r';\s*([\w*]+)=("[^"]*"|[^;\s]+)', str(part.get(header, "")))
    pairs = [f'"{name}" "{value.strip(chr(34))}"' for name, value in raw]
    return f"({' '.join(pairs)})" if pairs else "NIL"


def mail(body: str = "Hello.", **headers: str) -> bytes:
    """Return a mail; of headers, an underscore is a hyphen."""
    given = {"From": "Bo <bo@school.example>", "To": "ada@home.example", "Subject": "Trip"} | headers
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in given.items()]
    text = "\r\n".join([*lines, f"Date: {format_datetime(WHEN)}", "", body])
    return text.encode("utf-8", "surrogateescape")


@asynccontextmanager
async def open_imap(
    implicit: ssl.SSLContext | None = None, explicit: ssl.SSLContext | None = None
) -> AsyncIterator[ImapServer]:
    """Serve; `implicit` encrypts from the start, `explicit` by STARTTLS."""
    server = ImapServer(tls=explicit)
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=implicit)
    server.port = listening.sockets[0].getsockname()[1]
    async with listening:
        yield server
