"""A way to Postgres that breaks: a relay on loopback, which counts what is asked of the database."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from sqlalchemy import make_url


class Relay:
    """Passes on bytes between clients and a database, until it does not."""

    def __init__(self, folder: str) -> None:
        self._socket = f"{folder}/.s.PGSQL.5432"
        self._loop = asyncio.new_event_loop()
        self._writers: set[asyncio.StreamWriter] = set()
        self.asked = 0
        """Messages that clients have sent."""
        self.breaks_at: dict[int, str] = {}
        """By message: `before` or `after` it reaches the database, its connection breaks."""
        self.is_away = False
        """Nobody is let in, and whoever was in is put out."""
        self.latency_s = 0.0
        """Added to each message of a client."""
        self.port = 0

    def go_away(self) -> None:
        """Break all connections, and let nobody in."""
        self.is_away = True
        self._loop.call_soon_threadsafe(self._put_out)

    def come_back(self) -> None:
        self.is_away = False

    def _put_out(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()

    async def _serve(self, ready: Callable[[], None]) -> None:
        server = await asyncio.start_server(self._let_in, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        ready()
        async with server:
            with suppress(asyncio.CancelledError):
                await server.serve_forever()

    async def _let_in(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.is_away:
            writer.transport.abort()
            return
        there, thither = await asyncio.open_unix_connection(self._socket)
        self._writers |= {writer, thither}
        both = asyncio.gather(self._pass(reader, thither, counting=True), self._pass(there, writer))
        with suppress(OSError, asyncio.CancelledError):
            await both
        for each in (writer, thither):
            self._writers.discard(each)
            each.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, **how: Any) -> None:
        try:
            while data := await reader.read(2**16):
                breaks = self._count() if how else ""
                if how and self.latency_s:
                    await asyncio.sleep(self.latency_s)
                if breaks == "before":
                    raise ConnectionResetError
                writer.write(data)
                await writer.drain()
                if breaks == "after":
                    await asyncio.sleep(0.01)  # it has been done by then, and nobody hears of it
                    raise ConnectionResetError
        finally:
            writer.transport.abort()

    def _count(self) -> str:
        self.asked += 1
        return self.breaks_at.pop(self.asked, "")

    def run(self, ready: threading.Event) -> None:
        """Serve until it is ended; blocks."""
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:  # it ends what is left
            self._serving = self._loop.create_task(self._serve(ready.set))
            runner.run(self._ended())

    async def _ended(self) -> None:
        with suppress(asyncio.CancelledError):
            await self._serving
        self._put_out()
        await asyncio.sleep(0.01)  # what is put out says so to its loop

    def end(self) -> None:
        self._loop.call_soon_threadsafe(self._serving.cancel)


@contextmanager
def relay(url: str) -> Iterator[tuple[Relay, str]]:
    """Yield a relay to a database, and the URL that leads through it."""
    real = make_url(url)
    passing, ready = Relay(str(real.query["host"])), threading.Event()
    thread = threading.Thread(target=passing.run, args=[ready], daemon=True)
    thread.start()
    assert ready.wait(30)
    through = real.set(host="127.0.0.1", port=passing.port, query={"sslmode": "disable"})
    try:
        yield passing, through.render_as_string(hide_password=False)
    finally:
        passing.end()
        thread.join(30)
