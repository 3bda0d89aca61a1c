"""Whoever uses it: axe finds nothing, and it is there at once."""

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor

import pytest
from axe_playwright_python.sync_playwright import Axe

from tests.server.page.browser.conftest import Open
from tests.server.page.browser.window import NARROW, WIDE, Window
from tests.server.page.site import Site
from tests.server.page.test_planned import plan, soon

pytestmark = pytest.mark.slow

FIRST_PAINT_MS = 100
GRAVE = {"serious", "critical", "moderate"}


def _found(window: Window) -> list[str]:
    response = Axe().run(window.page).response
    return [
        f"{each['id']}: {each['nodes'][0]['html'][:200]} {each['nodes'][0].get('failureSummary', '')[:300]}"
        for each in response["violations"]
        if each["impact"] in GRAVE
    ]


IN_FULL = pytest.mark.prove(sampled=False)


@pytest.mark.parametrize(
    ("scheme", "size"),
    [
        ("light", WIDE),
        ("dark", NARROW),
        pytest.param("light", NARROW, marks=IN_FULL),
        pytest.param("dark", WIDE, marks=IN_FULL),
    ],
)
def test_axe_finds_nothing_grave_in_any_view(open_window: Open, open_site: Site, scheme: str, size):
    with ThreadPoolExecutor() as threads:
        reminder = soon(f"{scheme}{size[0]}", "local", "take the bins out", 0.1)
        threads.submit(asyncio.run, plan(open_site, reminder)).result()
    window = open_window(open_site.url, scheme=scheme, size=size).open()
    page = window.page
    window.sees("take the bins out")
    found: dict[str, list[str]] = {}
    window.sees("What can I do for you?")
    found["new"] = _found(window)
    window.say(f"remember that the bin of {scheme} {size[0]} goes out on Monday")
    page.locator(".account").wait_for()
    window.say('write "one" to axe.txt and write "two" to axe-2.txt')
    window.press("Always…")
    found["talk"] = _found(window)
    for view in ("waiting", "done", "spent", "agreed", "remembered", "planned"):
        window.open(view)
        page.locator("h1").wait_for()
        window.sees(
            {"waiting": "undecided", "spent": "By brain", "agreed": "Tools of other servers"}.get(view, "")
        )
        page.wait_for_load_state("networkidle") if view == "done" else None
        found[view] = _found(window)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), view
    assert {view: faults for view, faults in found.items() if faults} == {}


def test_the_sign_in_is_fine_with_axe_too(open_window: Open, site: Site):
    window = open_window(site.url).open()
    window.page.get_by_label("Token").wait_for()
    assert _found(window) == []


def test_it_is_painted_within_a_tenth_of_a_second(open_window: Open, open_site: Site):
    window = open_window(open_site.url)
    painted = []
    window.open()
    for _ in range(5):
        window.page.reload()  # from elsewhere a browser starts a process for it first
        window.page.get_by_label("Message", exact=True).wait_for()
        painted.append(
            window.page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
        )
    is_busy = os.getloadavg()[0] > (os.cpu_count() or 1)
    assert min(painted) < FIRST_PAINT_MS * (10 if is_busy else 1), painted
