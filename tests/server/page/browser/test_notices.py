"""What came by itself stands on the page, beside what is done there, until it is dismissed."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from channels.scheduler import Scheduler
from schedules.recurrence import Recurrence
from schedules.schedules import Schedule, Schedules
from tests.server.page.browser.conftest import Open
from tests.server.page.browser.window import NARROW, WIDE
from tests.server.page.conftest import PEOPLE
from tests.server.page.site import Site

pytestmark = pytest.mark.slow


async def _done(site: Site, number: int) -> None:
    """Have as many tasks of a schedule done elsewhere."""
    async with site.beside() as terminal:
        schedules, scheduler = Schedules(terminal.ledger), Scheduler(terminal)
        for each in range(1, number + 1):
            once, task = Recurrence("once", "", "UTC", time.time()), f"what is 12*{each}"
            await schedules.add(Schedule(f"d{each}", "local", task, task, once, time.time() - 1))
            await scheduler.run_due()


@pytest.mark.parametrize("size", [WIDE, NARROW])
def test_a_result_stands_with_its_answer_until_it_is_dismissed_in_any_tab(
    open_window: Open, tmp_path: Path, size
):
    with Site(tmp_path, PEOPLE.partition("[users.")[0]) as site:
        window = open_window(site.url, size=size).open()
        window.sees("What can I do for you?")
        with ThreadPoolExecutor() as threads:
            threads.submit(asyncio.run, _done(site, 7)).result()
        page = window.page
        told = page.locator("#told")
        told.get_by_text("12*7 = 84").wait_for()
        told.get_by_text("and 2 more").wait_for()
        other = window.tab()
        other.goto(f"{site.url}/app#planned")
        for each in (page, other):
            each.reload()
            each.locator("#told").get_by_text("12*7 = 84").wait_for()
            boxes = [each.locator(at).bounding_box() for at in ("#told", "main")]
            assert boxes[0]
            assert boxes[1]
            assert boxes[0]["y"] + boxes[0]["height"] <= boxes[1]["y"]
        other.bring_to_front()
        other.get_by_label("Dismiss what is 12*7").click()
        other.locator("#told").get_by_text("and 1 more").wait_for()
        page.bring_to_front()
        told.get_by_text("12*7 = 84").wait_for(state="detached")
        told.get_by_role("link", name="what is 12*6").click()
        page.get_by_text("12*6 = 72").locator("visible=true").last.wait_for()
        told.get_by_role("link", name="what is 12*6").wait_for(state="detached")
        window.button("Dismiss all").click()
        told.wait_for(state="hidden")
        page.reload()
        page.locator("#conversations").get_by_text("what is 12*1").wait_for(state="attached")
        assert told.is_hidden()
