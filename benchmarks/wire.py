"""A provider's endpoint on loopback that notes when each request came and when its answer's first byte went.

It speaks the dialects of the tests' wires. Its clients run in processes of their own; `time.monotonic()` is
the same clock in all of them.
"""

import json
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import Any, Self

from tests.wires.brain import Brain, Heard, Kind, Reply
from tests.wires.cards import at, configure
from tests.wires.serve import DIALECTS

_HEAD = 3
"""Events that are sent in one piece as the first: up to the first text in any dialect."""


@dataclass(frozen=True)
class Exchange:
    """One request and its answer; times are `time.monotonic()`."""

    heard: Heard
    arrived: float
    began: float
    """Just before the first byte was sent."""


class Wire:
    """An endpoint of one dialect in a thread; a context manager."""

    def __init__(self, kind: Kind, brain: Brain) -> None:
        self.kind = kind
        self.brain = brain
        self.exchanges: list[Exchange] = []
        self.key: str | None = None
        """Any will do; `tests.wires.cards` names one."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._thread = Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        """The base URL to give to the provider's client."""
        return f"http://127.0.0.1:{self._server.server_port}{DIALECTS[self.kind].BASE}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


def configured(folder: Path, planner: Wire, writer: Wire, **fields: Any) -> dict[str, str]:
    """Write a twobrain.toml whose orchestrator and responder stand at these wires; return its environment."""
    cards = {"planner": at(planner, timeout_s=60, **fields), "writer": at(writer, timeout_s=60, **fields)}
    roles = {"orchestrator": ["planner"], "chat": ["writer"]}
    return configure(folder, cards, roles, "[limits]\nmax_rounds = 1_000\n")


def _handler(wire: Wire) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1

        def do_POST(self) -> None:
            arrived = time.monotonic()
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            dialect = DIALECTS[wire.kind]
            heard = dialect.hear(body, self.path, {})
            reply = wire.brain(heard)
            events = [f"{event}\n\n" for event in dialect.events(heard, reply)]
            time.sleep(reply.delay_s)
            wire.exchanges.append(Exchange(heard, arrived, began=time.monotonic()))
            with suppress(ConnectionError):  # a client may hang up once it has read the last event
                self._send(["".join(events[:_HEAD]), *_rest(events[_HEAD:], reply)], reply.chunk_delay_s)

        def _send(self, pieces: Sequence[str], gap_s: float) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            for number, piece in enumerate(pieces):
                if number:
                    time.sleep(gap_s)
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece.encode()), piece.encode()))
                self.wfile.flush()
            self.wfile.write(b"0\r\n\r\n")
            self.wfile.flush()

        def log_message(self, *_: Any) -> None:
            """Keep the terminal for the table."""

    return Handler


def _rest(events: Sequence[str], reply: Reply) -> Sequence[str]:
    return events if reply.chunk_delay_s else ["".join(events)] if events else []
