"""What is planned stands on the page, is paused and cancelled there, and what came due is told once."""

import asyncio
import time

from schedules.recurrence import Recurrence
from schedules.schedules import Schedule, Schedules
from tests.server.page.site import Site, Visitor


async def plan(site: Site, *found: Schedule) -> None:
    """Plan something elsewhere; a reminder is on its way to the page."""
    async with site.beside() as terminal:
        schedules = Schedules(terminal.ledger)
        for each in found:
            await schedules.add(each)
        await schedules.take(lambda _user, _chosen: {"page": True})


def nightly(ident: str, user: str, **options) -> Schedule:
    recurrence = Recurrence("rrule", "FREQ=DAILY;BYHOUR=2;BYMINUTE=30", "Europe/Berlin", time.time())
    return Schedule(ident, user, "tidy up", "tidy up", recurrence, time.time(), **options)


def soon(ident: str, user: str, text: str, within_s: float = 1) -> Schedule:
    recurrence = Recurrence("once", "", "UTC", time.time() + within_s)
    return Schedule(ident, user, text, text, recurrence, time.time(), is_reminder=True)


async def test_ones_own_schedules_are_listed_paused_gone_on_with_and_cancelled(
    bob: Visitor, kid: Visitor, site: Site
):
    await plan(site, nightly("bobs", "bob"))

    def act() -> None:
        [row] = bob.get("planned")
        assert (row["id"], row["text"], row["status"]) == ("bobs", "tidy up", "active")
        assert any(fact.startswith("FREQ=DAILY;BYHOUR=2;BYMINUTE=30") for fact in row["facts"])
        assert any(fact.startswith("next 20") and ":30 " in fact for fact in row["facts"])
        for visitor, code, status in ((kid, 404, "active"), (bob, 204, "paused")):
            answer = visitor.call("PATCH", "planned/bobs", json={"status": "paused"})
            assert (answer.status_code, bob.get("planned")[0]["status"]) == (code, status)
        assert bob.call("PATCH", "planned/bobs", json={"status": "ended"}).status_code == 422
        assert bob.call("PATCH", "planned/bobs", json={"status": "active"}).status_code == 204
        assert kid.get("planned") == []
        assert kid.call("DELETE", "planned/bobs").status_code == 404
        assert bob.call("DELETE", "planned/bobs").status_code == 204
        assert bob.get("planned") == []

    await asyncio.to_thread(act)


async def test_a_reminder_is_told_on_the_page_once_at_its_time(bob: Visitor, kid: Visitor, site: Site):
    due = soon("bins", "bob", "take the bins out")
    await plan(site, due)

    def hear() -> float:
        with bob.http.stream("GET", "/app/api/events") as events:
            for line in events.iter_lines():
                if '"told"' in line:
                    return time.time()
        raise AssertionError("nothing was told")

    heard = await asyncio.wait_for(asyncio.to_thread(hear), 60)
    assert heard >= due.recurrence.begins_at

    def read() -> None:
        assert kid.call("POST", "told").json() == []
        assert bob.call("POST", "told").json() == ["Reminder: take the bins out"]
        assert bob.call("POST", "told").json() == []

    await asyncio.to_thread(read)
