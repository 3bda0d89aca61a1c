"""A relay on loopback between a terminal and a server, which breaks connections where it is told to."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Breaker:
    """Passes on bytes, until a request or what is answered to it is to be cut off."""

    def __init__(self, port: int) -> None:
        self._there = port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self.cuts: list[tuple[bytes, bytes]] = []
        """Beginning of a request, and what of its answer is held back; empty: the request is."""
        self.requests: list[bytes] = []

    def run(self) -> None:
        """Let connections in until it is closed."""
        with suppress(OSError):
            while True:
                ours, _ = self._listening.accept()
                threading.Thread(target=self._relay, args=[ours], daemon=True).start()

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _relay(self, ours: socket.socket) -> None:
        there = socket.create_connection(("127.0.0.1", self._there))
        with ours, there, suppress(OSError):
            back = threading.Thread(target=self._answers, args=[there, ours], daemon=True)
            back.start()
            while data := ours.recv(2**16):
                if data.partition(b" ")[0] in {b"GET", b"POST"}:
                    self.requests.append(data.partition(b"\r\n")[0])
                if self._is_cut(b""):
                    break
                there.sendall(data)
            _end(ours, there)
            back.join()

    def _answers(self, there: socket.socket, ours: socket.socket) -> None:
        with suppress(OSError):
            while data := there.recv(2**16):
                if self._is_cut(data):
                    break
                ours.sendall(data)
        _end(ours, there)

    def _is_cut(self, data: bytes) -> bool:
        """Tell whether to cut here; each cut is made once."""
        for cut in self.cuts:
            begins, held = cut
            if (held in data if held else not data) and self.requests[-1].startswith(begins):
                self.cuts.remove(cut)
                return True
        return False


def _end(*both: socket.socket) -> None:
    for each in both:
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)


@contextmanager
def breaker(port: int) -> Iterator[Breaker]:
    """Yield a relay to a port of this machine."""
    relay = Breaker(port)
    thread = threading.Thread(target=relay.run, daemon=True)
    thread.start()
    try:
        yield relay
    finally:
        relay.close()
        thread.join(30)
