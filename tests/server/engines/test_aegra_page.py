"""The page on two workers of aegra: whichever is asked, it is one page."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from schedules.recurrence import Recurrence
from schedules.schedules import Schedule, Schedules
from tests.server.conftest import GUARDED, TOKENS
from tests.server.engines.aegra import Workers, redis
from tests.server.page.site import Visitor, place_of
from tests.server.talking import opened


@pytest.fixture
def workers(tmp_path: Path, database_url: str) -> Iterator[Workers]:
    with redis(tmp_path) as redis_url:
        workers = Workers(tmp_path, database_url, redis_url, 0)
        (tmp_path / "world.py").write_text("")  # the tools are the real ones
        (tmp_path / "twobrain.toml").write_text(GUARDED)
        workers.environ["TWOBRAIN_CONFIG"] = str(tmp_path / "twobrain.toml")
        workers.migrate()
        try:
            for _ in range(2):
                workers.start()
            yield workers
        finally:
            workers.close()


async def plan(database_url: str, many: int) -> None:
    """Have things done for Alice in a moment."""
    async with opened(database_url) as ledger:
        for number in range(many):
            due = Recurrence("once", "", "UTC", ledger.now() + 2)
            task = f"remember that number {number}"
            planned = Schedule(f"s{number}", "alice", task, task, due, ledger.now(), place="nowhere")
            await Schedules(ledger).add(planned)


def _is_open(row: dict) -> bool:
    """Tell whether a schedule's only run has not ended; one in doubt waits for its person."""
    return not any(fact.endswith((": done", ": waiting")) for fact in row["facts"])


@pytest.mark.slow
@pytest.mark.timeout(500)
def test_two_workers_are_one_page(workers: Workers):
    first, second = (SimpleNamespace(url=url) for url in workers.urls)
    with Visitor(first) as here:
        assert here.call("GET", "me").status_code == 401
        assert here.sign_in(TOKENS["alice"]).status_code == 204
        cookie = {"Cookie": f"twobrain={here.http.cookies['twobrain']}"}
        with Visitor(second, **cookie) as there:
            assert there.get("me")["user"] == "alice"
            thread, entry = here.wait_for('write "once" to aegra.txt')
            assert there.get(place_of(thread))["question"] == entry["question"]
            with here.stream("events") as events:
                assert next(events)[1] == {"event": "listening"}
                assert there.answer(entry).status_code == 202
                assert there.hear(thread)[-1]["event"] == "done"
                assert "waiting" in next(events)[1]["what"]
            assert here.answer(entry).status_code == 409
            assert here.get(place_of(thread))["status"] == "answered"
            thread, _ = there.ask("remember that the bin goes out on Monday")
            assert [each["text"] for each in here.get("memories")] == ["the bin goes out on Monday"]
            deleted = here.call("DELETE", place_of(thread))
            assert deleted.status_code == 204, deleted.text
            assert there.call("GET", place_of(thread)).status_code == 404
            began = len(here.get("audit", tool="remember", limit=500))
            asyncio.run(plan(workers.environ["TWOBRAIN_DATABASE_URL"], many := 20))
            while len(here.get("audit", tool="remember", limit=500)) - began < many // 3:
                time.sleep(0.2)
            workers.kill(second.url)
        done = []
        while len(done) < many:
            time.sleep(0.2)
            done = [each for each in here.get("planned") if "once" in each["facts"] and not _is_open(each)]
        rows = here.get("audit", tool="remember", limit=500)[: -began or None]
        assert Counter(row["args"]["text"] for row in rows) == Counter(f"number {n}" for n in range(many))
        assert here.ask("what is 12*7")[1]["event"] == "done"
    assert (workers.folder / ".people" / "alice" / "aegra.txt").read_text() == "once"
