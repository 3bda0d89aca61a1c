"""A browser's window on the page, and a network that can be cut."""

import contextlib
import socket
import socketserver
import threading
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

from playwright.sync_api import Browser, ConsoleMessage, Dialog, Locator, Page, Request

WIDE, NARROW = (1280, 800), (380, 780)
SETTLED_MS = 450
"""After that a card hears clicks."""


class Window:
    """A tab of a browser that shares nothing with others, and all that it asked for."""

    def __init__(
        self, browser: Browser, url: str, size: tuple[int, int] = WIDE, scheme: str = "light"
    ) -> None:
        width, height = size
        self.url = url
        self.context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if scheme == "dark" else "light",
            reduced_motion="reduce",
        )
        self.context.set_default_timeout(20_000)
        self.requested: list[str] = []
        self.faults: list[str] = []
        self.page = self.tab()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.context.close()
        if error is None:
            assert self.faults == []
            assert [url for url in self.requested if not url.startswith(f"{self.url}/app")] == []

    def tab(self) -> Page:
        """Open one more tab of the same browser."""
        page = self.context.new_page()
        page.on("request", self._hear)
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("console", self._read)
        page.on("dialog", self._dialog)
        return page

    def _hear(self, request: Request) -> None:
        if not request.url.startswith(("data:", "blob:")):
            self.requested.append(request.url)

    def _read(self, message: ConsoleMessage) -> None:
        if message.type == "error" and "status of 4" not in message.text and "net::ERR" not in message.text:
            self.faults.append(message.text)

    def _dialog(self, dialog: Dialog) -> None:
        self.faults.append(f"a dialog: {dialog.message}")
        dialog.dismiss()

    def open(self, view: str = "") -> Self:
        """Open a view, as a link to it does."""
        self.page.goto(f"{self.url}/app{view and f'#{view}'}")
        return self

    def say(self, text: str) -> None:
        self.page.get_by_label("Message", exact=True).fill(text)
        self.page.keyboard.press("Enter")

    def button(self, name: str) -> Locator:
        return self.page.get_by_role("button", name=name, exact=True)

    def press(self, name: str) -> None:
        """Click a button of a card once the card has settled."""
        button = self.button(name).first
        button.wait_for()
        self.page.wait_for_timeout(SETTLED_MS)
        button.click()

    def sees(self, text: str) -> None:
        """Wait until a text is shown."""
        self.page.get_by_text(text).first.wait_for()

    def asked(self) -> list[dict[str, Any]]:
        """Return what waits, as the page is told it."""
        found: list[dict[str, Any]] = self.page.evaluate("fetch('/app/api/waiting').then((a) => a.json())")
        return found


class _Forwarded(socketserver.BaseRequestHandler):
    server: "Network"

    def handle(self) -> None:
        if self.server.is_down:
            return
        host, port = self.server.target.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as target:
            pair = {self.request, target}
            self.server.connected |= pair
            back = threading.Thread(target=_pass_on, args=(target, self.request))
            back.start()
            _pass_on(self.request, target)
            back.join()
            self.server.connected -= pair


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(65_536):
            target.sendall(piece)
    _end(target)


def _end(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


class Network(socketserver.ThreadingTCPServer):
    """A port in front of a server, whose connections can be cut."""

    def __init__(self, url: str) -> None:
        super().__init__(("127.0.0.1", 0), _Forwarded)
        self.target = url
        self.is_down = False
        self.connected: set[socket.socket] = set()
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self._serving = threading.Thread(target=self.serve_forever, args=(0.05,))
        self._serving.start()

    def cut(self) -> None:
        """End all connections, and let none begin."""
        self.is_down = True
        for connection in list(self.connected):
            _end(connection)

    def mend(self, url: str = "") -> None:
        """Let connections begin again, to another server where one is named."""
        self.target = url or self.target
        self.is_down = False

    def close(self) -> None:
        self.cut()
        self.shutdown()
        self._serving.join()
        self.server_close()


def focused(page: Page) -> str:
    """Return the name of what has the keyboard."""
    found: str = page.evaluate(
        "(() => { const at = document.activeElement;"
        " const label = at.labels?.[0]?.firstElementChild?.textContent;"
        " return (at.ariaLabel || label || at.textContent).trim() })()"
    )
    return found


def tabbed(page: Page, name: str, most: int = 60) -> None:
    """Press Tab until something of that name has the keyboard, and see that this shows."""
    for _ in range(most):
        page.keyboard.press("Tab")
        if focused(page) == name:
            ring: str = page.evaluate(
                "(() => { const at = document.activeElement; const own = getComputedStyle(at).outlineStyle;"
                " return own !== 'none' ? own : getComputedStyle(at.parentNode, '::before').outlineStyle })()"
            )
            assert ring != "none", f"nothing shows that {name!r} has the keyboard"
            return
    raise AssertionError(f"{name!r} cannot be reached by the keyboard")


def windows(browser: Browser) -> Iterator[Any]:
    """Yield a function that opens windows, and close them all."""
    with contextlib.ExitStack() as stack:
        yield lambda url, **how: stack.enter_context(Window(browser, url, **how))
