"""A mail server and a calendar server on loopback."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server


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
