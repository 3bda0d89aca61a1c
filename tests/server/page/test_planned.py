"""What is planned stands on the page, is paused and cancelled there; what came due, till dismissed."""

import asyncio
import json
import time
from typing import Any

import pytest

from channels.messages import NoticeRows
from channels.notices import told_here
from channels.scheduler import Scheduler
from schedules.recurrence import Recurrence
from schedules.schedules import Schedule, Schedules
from tests.server.page.site import Site, Visitor

AS_JSON = {"Content-Type": "application/json"}


async def plan(site: Site, *found: Schedule) -> None:
    """Plan something elsewhere; a reminder is on its way to the page."""
    async with site.beside() as terminal:
        schedules = Schedules(terminal.ledger)
        for each in found:
            await schedules.add(each)
        await schedules.take(lambda _user, _chosen: {"page": True})


def nightly(ident: str, user: str, **options) -> Schedule:
    recurrence = Recurrence(
        "rrule", "FREQ=DAILY;BYHOUR=2;BYMINUTE=30", "Europe/Berlin", time.time() // 60 * 60
    )
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
        assert any(fact.startswith("every day at 02:30") for fact in row["facts"])
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


async def test_an_inbox_that_cannot_be_watched_is_told_on_the_page_in_words(bob: Visitor, site: Site):
    said = {"thread": "", "subject": "Mail starts nothing <b>now</b>.", "kind": "inbox", "place": "page"}
    async with site.beside() as terminal:
        row = {"key": "inbox bob", "user": "bob", "at": time.time(), **said}
        await NoticeRows(terminal.ledger.access).add([row])

    def read() -> None:
        [told] = bob.get("notices")["notices"]
        shown = (told["what"], told["text"], told["conversation"])
        assert shown == ("Mailbox", "Mail starts nothing <b>now</b>.", None)
        assert bob.call("POST", "notices/dismissed", json={"id": told["id"]}).status_code == 204

    await asyncio.to_thread(read)


async def test_a_reminder_stands_on_the_page_from_its_time_until_it_is_dismissed(
    bob: Visitor, kid: Visitor, site: Site
):
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
        for _ in range(2):
            [told] = bob.get("notices")["notices"]
            assert (told["what"], told["text"], told["conversation"]) == (
                "Reminder",
                "take the bins out",
                None,
            )
        for given in (
            {"id": told["id"]},
            {"until": told["at"]},
        ):  # which is bob's
            assert kid.call("POST", "notices/dismissed", json=given).status_code == 404
        assert bob.get("notices")["notices"] == [told]
        assert bob.call("POST", "notices/dismissed", json={"id": told["id"]}).status_code == 204
        assert (
            bob.call("POST", "notices/dismissed", json={"id": told["id"]}).status_code == 204
        )  # another tab
        assert bob.get("notices") == {"notices": [], "more": 0}

    await asyncio.to_thread(read)


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"id": "reminder x page"}, 404),
        ({"id": ""}, 404),
        ({"id": "looked others"}, 404),
        ({"id": "\ud800"}, 422),
        ({"id": "\0"}, 404),
        ({"id": "' OR 1=1 --"}, 404),
        ({"id": "x" * 2_001}, 422),
        ({"id": ["x"]}, 422),
        ({"until": "Infinity"}, 422),
        ({"until": -1}, 404),
        ({"id": "x", "until": 1e12}, 422),
        ({}, 422),
    ],
)
def test_what_is_no_notice_of_ones_own_is_refused(kid: Visitor, given: dict[str, Any], code: int):
    answer = kid.call("POST", "notices/dismissed", content=json.dumps(given), headers=AS_JSON)
    assert answer.status_code == code, answer.text
    assert len(answer.json()["detail"]) > 10


async def test_a_result_is_told_with_its_answers_first_line_and_its_conversation(
    bob: Visitor, kid: Visitor, site: Site
):
    async with site.beside() as one:
        schedules, scheduler = Schedules(one.ledger), Scheduler(one)
        for number in range(7):
            found = Recurrence("once", "", "UTC", time.time())
            task = f"what is 12*{number}"
            await schedules.add(
                Schedule(f"n{number}", "bob", task, task, found, time.time() - 1, place="page")
            )
            await scheduler.run_due()

        def read() -> list[dict[str, Any]]:
            told = bob.get("notices")
            assert [each["text"] for each in told["notices"]] == [
                f"12*{n} = {12 * n}" for n in (6, 5, 4, 3, 2)
            ]
            assert told["more"] == 2
            assert (told["notices"][0]["what"], told["notices"][0]["title"]) == ("Done", "what is 12*6")
            assert kid.get("notices")["notices"] == []
            return told["notices"]

        said = await asyncio.to_thread(read)
        assert await told_here(one, "bob") == [
            "Done: what is 12*0",
            "Done: what is 12*1",
        ]  # unseen on the page
        assert await told_here(one, "bob") == []

    def act() -> None:
        newest, _, third, *_ = said
        assert bob.get(f"conversations/{newest['conversation']}")["messages"][-1]["text"].startswith(
            "12*6 = 72\n"
        )
        assert newest["id"] not in [each["id"] for each in bob.get("notices")["notices"]]
        assert kid.call("GET", f"conversations/{third['conversation']}").status_code == 404
        assert third["id"] in [each["id"] for each in bob.get("notices")["notices"]]
        assert bob.call("POST", "notices/dismissed", json={"until": third["at"]}).status_code == 204
        assert [each["title"] for each in bob.get("notices")["notices"]] == ["what is 12*5"]
        assert bob.call("DELETE", f"conversations/{said[1]['conversation']}").status_code == 204
        assert bob.get("notices")["notices"] == []

    await asyncio.to_thread(act)


async def test_a_reminder_that_is_cancelled_is_gone_and_one_that_was_shown_outlives_a_pause(
    dora: Visitor, site: Site
):
    await plan(site, soon("s8", "dora", "water the plants", 0.5), soon("s9", "dora", "feed the cat", 0.5))

    def act() -> None:
        time.sleep(0.6)
        assert {each["text"] for each in dora.get("notices")["notices"]} == {
            "water the plants",
            "feed the cat",
        }
        assert dora.call("PATCH", "planned/s8", json={"status": "paused"}).status_code == 204
        assert dora.call("DELETE", "planned/s9").status_code == 204
        [left] = dora.get("notices")["notices"]
        assert left["text"] == "water the plants"
        assert dora.call("DELETE", "planned/s8").status_code == 204
        assert dora.get("notices")["notices"] == []

    await asyncio.to_thread(act)
