import shutil
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.server.page.browser.window import Network, Window, windows
from tests.server.page.conftest import TOKENS
from tests.server.page.site import Site, Visitor, place_of

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

Open = Callable[..., Window]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Return Debian's Chromium; while it runs, no test of this process can have a loop of its own."""
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("Chromium is not installed, so the page is not tried in a browser")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def open_window(chromium: Browser) -> Iterator[Open]:
    """Open windows; at the end nothing in them broke, and nothing was asked of anybody else."""
    yield from windows(chromium)


@pytest.fixture
def window(open_window: Open, open_site: Site) -> Window:
    """Return a window where nobody need sign in, and nothing has been said."""
    with Visitor(open_site) as host:
        for each in host.get("conversations"):
            if host.call("DELETE", place_of(each["id"])).status_code == 409:  # it runs on
                host.hear(each["id"])
                assert host.call("DELETE", place_of(each["id"])).is_success
    return open_window(open_site.url).open()


@pytest.fixture
def open_as(open_window: Open, site: Site) -> Open:
    """Open windows on the guarded site, signed in."""

    def signed_in(name: str, **how) -> Window:
        window = open_window(site.url, **how)
        window.context.request.post(f"{site.url}/app/api/session", data={"token": TOKENS[name]})
        return window.open()

    return signed_in


@pytest.fixture
def network(own_site: Site) -> Iterator[Network]:
    """Return a network before a server of the test's own."""
    network = Network(own_site.url)
    yield network
    network.close()
