"""Servers on loopback: a web server whose every byte a test decides, one for mail, one for calendars."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

Serve = Callable[[asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: str


@dataclass
class Site:
    """Pages by path; each is the bytes of an answer, or a function that writes one."""

    port: int = 0
    pages: dict[str, bytes | Serve] = field(default_factory=dict)
    seen: list[Request] = field(default_factory=list)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once a client has gone while a page was being written."""
    scheme: str = "http"

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def url(self, path: str = "/") -> str:
        return f"{self.scheme}://{self.host}{path}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = await _read(reader)
            self.seen.append(request)
            page = self.pages.get(request.path.partition("?")[0], answer("none", status="404 Not Found"))
            if isinstance(page, bytes):
                writer.write(page)
                await writer.drain()
            else:
                await self._until_left(page(writer), reader)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _until_left(self, writing: Awaitable[None], reader: asyncio.StreamReader) -> None:
        task = asyncio.ensure_future(writing)
        gone = asyncio.ensure_future(reader.read())
        try:
            done, _ = await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
            if gone in done or isinstance(task.exception(), ConnectionError):
                self.left.set()
        finally:
            for each in (task, gone):
                each.cancel()
            await asyncio.gather(task, gone, return_exceptions=True)


async def _read(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    method, path, _ = head[0].split(" ")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in head[1:] if line)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Request(method, path, headers, body.decode())


def answer(
    body: str | bytes, kind: str | None = "text/html", status: str = "200 OK", **headers: str
) -> bytes:
    """Return the bytes of an answer; of headers, an underscore is a hyphen."""
    content = body.encode() if isinstance(body, str) else body
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(content)}", "Connection: close"]
    lines += [f"Content-Type: {kind}"] if kind is not None else []
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + content


def moved(to: str, status: str = "302 Found") -> bytes:
    return answer("", status=status, Location=to)


def endless(chunk: bytes, **headers: str) -> Serve:
    """Write the same for ever."""

    async def write(writer: asyncio.StreamWriter) -> None:
        head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        writer.write(f"HTTP/1.1 200 OK\r\nConnection: close\r\n{head}\r\n".encode())
        while True:
            writer.write(chunk)
            await writer.drain()

    return write


def stuck(beginning: bytes = b"") -> Serve:
    """Write a beginning, and then nothing more."""

    async def write(writer: asyncio.StreamWriter) -> None:
        writer.write(beginning)
        await asyncio.Event().wait()

    return write


@asynccontextmanager
async def open_site(**options: object) -> AsyncIterator[Site]:
    site = Site(scheme="https" if "ssl" in options else "http")
    at_work: set[asyncio.Task[None]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(site.serve(reader, writer))
        at_work.add(task)
        task.add_done_callback(at_work.discard)

    server = await asyncio.start_server(connected, "127.0.0.1", 0, **options)
    site.port = server.sockets[0].getsockname()[1]
    try:
        yield site
    finally:
        server.close()
        for task in at_work:
            task.cancel()
        await asyncio.gather(*at_work, return_exceptions=True)
        await server.wait_closed()


@asynccontextmanager
async def open_post() -> AsyncIterator[tuple[list[tuple[str, ...]], str]]:
    """Yield the recipients of each mail that an SMTP server took, and the table that names it."""
    from aiosmtpd.smtp import SMTP

    taken: list[tuple[str, ...]] = []

    class Box:
        async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802
            taken.append(tuple(envelope.rcpt_tos))
            return "250 OK"

    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(Box(), hostname="mail.example.com"), "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        where = f'host = "127.0.0.1"\nport = {port}\nsecurity = "none"\nfrom = "us@home.example"\n'
        yield taken, f"[tools.send_email]\n{where}"


class _Quiet(WSGIRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def open_calendars(folder: Path, user: str) -> Iterator[str]:
    """Yield the address of a CalDAV server with one user, of the password swordfish, without a calendar."""
    from radicale import Application, config

    folder.mkdir()
    users = folder / "users"
    users.write_text(f"{user}:swordfish\n")
    configuration = config.load()
    configuration.update(
        {
            "auth": {"type": "htpasswd", "htpasswd_filename": str(users), "htpasswd_encryption": "plain"}
            | {"delay": "0"},
            "storage": {"filesystem_folder": str(folder / "collections")},
            "logging": {"level": "critical"},
        },
        "tests",
    )
    with make_server("127.0.0.1", 0, Application(configuration), handler_class=_Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()
